/* The relay: which nodes it says that it has heard, and what it makes of requests. */
#include "tests/lib/unit.h"

#include "manager/relay.h"

#include <string.h>

#include "shared/base/base.h"

static const uint8_t AGENT_MESSAGE[] = {0x0a, 0x00}, REQUEST[] = {0x08, 0x01};

struct heard {
        int n;
        int64_t newest_ms[3]; /* by the key's first byte; 0: not heard */
};

static void on_heard(void *arg, const uint8_t key[NET_KEY_BYTES], int64_t heard_ms)
{
        struct heard *h = arg;

        assert_in_range(key[0], 0, 2);
        h->n++;
        h->newest_ms[key[0]] = MAX(h->newest_ms[key[0]], heard_ms);
}

static void on_input(void *arg UNUSED, const struct relay_sender *from UNUSED,
                     const uint8_t *p UNUSED, size_t n UNUSED)
{
}

static void on_gone(void *arg UNUSED, uint64_t number UNUSED)
{
}

static void say(struct relay *r, uint64_t connection, uint8_t key, const uint8_t *p, int64_t now_ms)
{
        struct net_sender from = {.connection = connection, .key = {key}};

        relay_on_message(r, &from, p, 2, now_ms);
}

static struct heard heard_at(struct relay *r, int64_t now_ms)
{
        struct heard h = {0};

        relay_heard(r, now_ms, on_heard, &h);
        return h;
}

static void test_heard(void **state UNUSED)
{
        struct relay *r = relay_new(
                &(struct relay_config){.id = 1, .on_input = on_input, .on_gone = on_gone});

        relay_set_leader(r, 1, true);
        say(r, 10, 0, AGENT_MESSAGE, 1000);
        say(r, 11, 1, AGENT_MESSAGE, 1500);
        say(r, 12, 2, REQUEST, 1600); /* a client: no node's life */
        struct heard h = heard_at(r, 2000);
        assert_int_equal(h.n, 2);
        assert_int_equal(h.newest_ms[0], 1000);
        assert_int_equal(h.newest_ms[1], 1500);
        /* one that is gone was heard all the same, and again over another connection */
        relay_on_gone(r, 10);
        relay_on_gone(r, 11);
        relay_on_gone(r, 12);
        say(r, 13, 1, AGENT_MESSAGE, 3000);
        h = heard_at(r, 3000);
        assert_int_equal(h.n, 3);
        assert_int_equal(h.newest_ms[0], 1000);
        assert_int_equal(h.newest_ms[1], 3000);
        assert_int_equal(h.newest_ms[2], 0);
        /* but not for ever */
        h = heard_at(r, 1001 + RELAY_HEARD_MS);
        assert_int_equal(h.newest_ms[0], 0);
        assert_int_equal(h.newest_ms[1], 3000);
        h = heard_at(r, 3001 + RELAY_HEARD_MS);
        assert_int_equal(h.n, 0);
        relay_free(r);
}

/* --- requests -----------------------------------------------------------------------------------
 */
struct side {
        int n_sent, n_inputs;
};

static int on_send(void *arg, uint64_t connection UNUSED, const uint8_t *p UNUSED, size_t n UNUSED)
{
        assert_in_range(++((struct side *)arg)->n_sent, 1, 100);
        return 0;
}

static void count_input(void *arg, const struct relay_sender *from UNUSED, const uint8_t *p UNUSED,
                        size_t n UNUSED)
{
        ((struct side *)arg)->n_inputs++;
}

static struct relay *open_leader(struct side *s)
{
        struct relay *r = relay_new(&(struct relay_config){
                .id = 1, .arg = s, .send = on_send, .on_input = count_input, .on_gone = on_gone});

        relay_set_leader(r, 1, true);
        return r;
}

/* Info asked for under numbers that can be one, and that cannot. */
static const struct {
        const char *name;
        uint8_t bytes[16];
        size_t len;
        bool is_request;
} NUMBERS[] = {
        {"1", {0x08, 1, 0x52, 0}, 4, true},
        {"128", {0x08, 0x80, 1, 0x52, 0}, 5, true},
        {"the highest",
         {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x52, 0},
         12,
         true},
        {"0", {0x08, 0, 0x52, 0}, 4, false},
        {"0 in two bytes", {0x08, 0x80, 0, 0x52, 0}, 5, false},
        {"2^63",
         {0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0x52, 0},
         13,
         false},
        {"cut off", {0x08, 0x80}, 2, false},
        {"another field", {0x10, 1, 0x52, 0}, 4, false},
};

static void test_numbers(void **state UNUSED)
{
        for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
                struct side s = {0};
                struct relay *r = open_leader(&s);
                struct net_sender from = {.connection = 9, .key = {7}};

                print_message("%s\n", NUMBERS[i].name);
                relay_on_message(r, &from, NUMBERS[i].bytes, NUMBERS[i].len, 1000);
                assert_int_equal(s.n_inputs, NUMBERS[i].is_request);
                assert_int_equal(s.n_sent, 0);
                /* one answer to each, when nobody will give another */
                relay_set_leader(r, 0, false);
                assert_int_equal(s.n_sent, NUMBERS[i].is_request);
                relay_set_leader(r, 1, true);
                relay_set_leader(r, 0, false);
                assert_int_equal(s.n_sent, NUMBERS[i].is_request);
                relay_free(r);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_heard),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
