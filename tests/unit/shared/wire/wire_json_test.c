/* Messages as JSON. */

#include "tests/lib/unit.h"

#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "shared/wire/wire_json.h"

static void assert_json(const ProtobufCMessage *m, const char *expected)
{
        _cleanup_buf_ struct buf b = {0};

        wire_json(m, &b);
        assert_string_equal(buf_str(&b), expected);
}

static void test_zero_values_are_left_out(void **state UNUSED)
{
        Swarm__Task task = SWARM__TASK__INIT;

        assert_json(&task.base, "{}");
        task.exit_code = -1;
        task.slot = UINT64_MAX;
        assert_json(&task.base, "{\"slot\":18446744073709551615,\"exit_code\":-1}");
}

static void test_ids_and_other_bytes(void **state UNUSED)
{
        Swarm__Node node = SWARM__NODE__INIT;
        uint8_t id[ID_BYTES], key[] = {0, 0xab};

        node.id = wire_id((struct id){0, 36}, id);
        node.public_key = (ProtobufCBinaryData){sizeof(key), key};
        assert_json(&node.base, "{\"id\":\"0000000000000000000000010\",\"public_key\":\"00ab\"}");
}

static void test_nested_and_repeated(void **state UNUSED)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__UpdateConfig update = SWARM__UPDATE_CONFIG__INIT;
        Swarm__KeyValue a = SWARM__KEY_VALUE__INIT, b = SWARM__KEY_VALUE__INIT,
                        *labels[] = {&a, &b};

        a.key = (char *)"k";
        a.value = (char *)"v";
        update.max_failure_ratio = 0.1;
        spec.labels = labels;
        spec.n_labels = 2;
        spec.update = &update;
        assert_json(&spec.base, "{\"labels\":[{\"key\":\"k\",\"value\":\"v\"},{}],"
                                "\"update\":{\"max_failure_ratio\":0.1}}");
}

static void test_a_oneof_shows_its_case_even_when_zero(void **state UNUSED)
{
        Swarm__Response response = SWARM__RESPONSE__INIT;

        response.kind_case = SWARM__RESPONSE__KIND_BLOB_OFFSET;
        assert_json(&response.base, "{\"blob_offset\":0}");
}

static void test_strings_are_escaped(void **state UNUSED)
{
        static const struct {
                const char *in, *out;
        } cases[] = {
                {"", "\"\""},
                {"a\"b\\c", "\"a\\\"b\\\\c\""},
                {"\n\t\x01\x7f", "\"\\n\\t\\u0001\\u007f\""},
                {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                 "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
                {"\xff|\xc0\xaf|\xe2\x82", "\"\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|"
                                           "\xef\xbf\xbd\xef\xbf\xbd\""},
                {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = {0};

                wire_json_str(cases[i].in, &b);
                assert_string_equal(buf_str(&b), cases[i].out);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_zero_values_are_left_out),
                cmocka_unit_test(test_ids_and_other_bytes),
                cmocka_unit_test(test_nested_and_repeated),
                cmocka_unit_test(test_a_oneof_shows_its_case_even_when_zero),
                cmocka_unit_test(test_strings_are_escaped),
        };
        return cmocka_run_group_tests_name("wire_json", tests, NULL, NULL);
}
