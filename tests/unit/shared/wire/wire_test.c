/* Packing, unpacking with a cap, and the keeping of fields that this version does not know. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

static void test_round_trip(void **state UNUSED)
{
        Swarm__Ref ref = SWARM__REF__INIT;
        _cleanup_arena_ struct wire_arena arena = {0};
        _cleanup_buf_ struct buf b = {0};

        ref.ref = (char *)"web";
        WIRE_PACK(&ref, &b);
        Swarm__Ref *got = wire_unpack(&arena, &swarm__ref__descriptor, b.data, b.len);
        assert_non_null(got);
        assert_string_equal(got->ref, "web");
        assert_null(wire_unpack(&arena, &swarm__ref__descriptor, (const uint8_t *)"\x0a\xff", 2));
}

/* A message of many empty parts is small on the wire and large in memory: the cap stops it. */
static void test_cap(void **state UNUSED)
{
        struct wire_arena arena = {.cap_bytes = 1 << 20};
        _cleanup_buf_ struct buf b = {0};

        for (int i = 0; i < 200000; i++)
                buf_append(&b, "\x0a\x00", 2); /* TaskList.tasks: an empty Task */
        assert_null(wire_unpack(&arena, &swarm__task_list__descriptor, b.data, b.len));
        assert_true(arena.used_bytes <= 1 << 20);
        wire_arena_reset(&arena);
        assert_non_null(wire_unpack(&arena, &swarm__task_list__descriptor, b.data, 200));
        wire_arena_done(&arena);
}

static void test_unknown_fields_are_kept(void **state UNUSED)
{
        static const uint8_t newer[] = {0x0a, 3, 'w', 'e', 'b', 0xf8, 0x07, 5}; /* field 127 = 5 */
        _cleanup_buf_ struct buf b = {0};
        Swarm__Ref *ref = wire_unpack_heap(&swarm__ref__descriptor, newer, sizeof(newer));

        assert_non_null(ref);
        Swarm__Ref *copy = wire_dup(ref);
        WIRE_PACK(copy, &b);
        assert_int_equal(b.len, sizeof(newer));
        assert_memory_equal(b.data, newer, sizeof(newer));
        wire_free(ref);
        wire_free(copy);
}

/* A later version may add kinds, and fields beside them. */
static void test_the_kind_is_told_without_unpacking(void **state UNUSED)
{
        static const struct {
                const char *what;
                int kind;
                size_t n;
                uint8_t bytes[12];
        } cases[] = {
                {"nothing at all", 0, 0, {0}},
                {"a number alone", 0, 2, {0x08, 5}},
                {"a kind", SWARM__REQUEST__KIND_KEEP_ALIVE, 4, {0x08, 5, 0x5a, 0}},
                {"a field of a later version behind it",
                 SWARM__REQUEST__KIND_KEEP_ALIVE,
                 7,
                 {0x08, 5, 0x5a, 0, 0xc0, 0x3e, 1}},
                {"a kind of a later version", 200, 5, {0x08, 5, 0xc2, 0x0c, 0}},
                {"no message", -EBADMSG, 2, {0x5a, 9}},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int kind = wire_peek_kind(&swarm__request__descriptor, cases[i].bytes, cases[i].n);

                if (kind != cases[i].kind)
                        fail_msg("%s: %d", cases[i].what, kind);
        }
}

static void test_ids(void **state UNUSED)
{
        uint8_t storage[ID_BYTES];
        struct id id = {1, 2}, back;
        ProtobufCBinaryData d = wire_id(id, storage);

        assert_int_equal(wire_get_id(&d, &back), 0);
        assert_true(id_is_equal(id, back));
        d.len = 15;
        assert_int_equal(wire_get_id(&d, &back), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_cap),
                cmocka_unit_test(test_unknown_fields_are_kept),
                cmocka_unit_test(test_the_kind_is_told_without_unpacking),
                cmocka_unit_test(test_ids),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
