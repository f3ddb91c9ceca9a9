/*
 * What a user's writes see of several managers: how long a small write takes, and how long none is
 * taken when a manager is lost. A write is a label that is put on a node, over the protocol that
 * swarmctl speaks, by a client that stays connected: no program is started in the measured time.
 *
 *   managers_bench write NODE N SOCKET
 *      N writes, one after the other. Prints in us: the median, and the 99th percentile.
 *   managers_bench lose NODE COMMAND SOCKET...
 *      Writes every few ms, to any of the managers; each that does not answer in time is asked
 *      anew. Then the command is run, which takes a manager away. Prints in us, both from before
 *      the command: when the first write was acknowledged that was sent after it; and the longest
 *      time without an acknowledgement.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/model/model.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define LINKS_MAX 9
#define WRITE_MS  5    /* between two writes */
#define ANSWER_MS 50   /* then the manager is asked anew */
#define CALM_MS   1000 /* of writes before the command, and after the first write again */
#define LIMIT_MS  60000

struct bench;

struct line {
        struct bench *bench;
        struct net_client *client;
        uint64_t asked; /* the write that is under way; 0: none */
        bool has_answered;
};

struct bench {
        struct loop *loop;
        struct net *net;
        struct loop_timer *timer;
        const char *node, *command;
        struct line lines[LINKS_MAX];
        size_t n_lines, next;
        int64_t *sent_us; /* by number of the write, from 1 on */
        uint64_t n_sent;
        void (*on_taken)(struct bench *b, int64_t sent_us, int64_t now_us);

        uint64_t wanted, n_taken; /* write */
        int64_t *taken_us;

        int64_t begun_us, struck_us, gone_us, again_us; /* lose; 0: not yet */
        int64_t last_us, longest_us;
};

static void give_up(const char *why)
{
        fprintf(stderr, "managers_bench: %s\n", why);
        exit(1);
}

/* --- a write ------------------------------------------------------------------------------------
 */
static void put_label(struct line *l)
{
        struct bench *b = l->bench;
        char value[24];
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeUpdate update = SWARM__NODE_UPDATE__INIT;
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels = &label;
        _cleanup_buf_ struct buf out = {0};

        l->asked = ++b->n_sent;
        snprintf(value, sizeof(value), "%llu", (unsigned long long)l->asked);
        label.key = (char *)(uintptr_t) "bench";
        label.value = value;
        update.ref = (char *)(uintptr_t)b->node;
        update.label_add = &labels;
        update.n_label_add = 1;
        q.number = l->asked;
        q.protocol = CONTROL_PROTOCOL;
        q.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        q.node_update = &update;
        WIRE_PACK(&q, &out);
        b->sent_us = xreallocarray(b->sent_us, b->n_sent + 1, sizeof(*b->sent_us));
        b->sent_us[l->asked] = time_mono_us();
        net_client_send(l->client, out.data, out.len);
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct line *l = arg;
        struct bench *b = l->bench;
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Response *r = wire_unpack(&arena, &swarm__response__descriptor, p, n);

        if (!r || r->number == 0 || r->number > b->n_sent)
                give_up("a manager says what is no answer");
        if (r->number == l->asked)
                l->asked = 0;
        if (r->code == EINVAL || r->code == ENOENT)
                give_up(r->error);
        if (r->code)
                return;
        l->has_answered = true;
        b->on_taken(b, b->sent_us[r->number], time_mono_us());
}

/* --- one after the other ------------------------------------------------------------------------
 */
static int compare(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

static void on_written(struct bench *b, int64_t sent_us, int64_t now_us)
{
        b->taken_us[b->n_taken++] = now_us - sent_us;
        if (b->n_taken < b->wanted) {
                put_label(&b->lines[0]);
                return;
        }
        qsort(b->taken_us, b->wanted, sizeof(*b->taken_us), compare);
        printf("%lld %lld\n", (long long)b->taken_us[b->wanted / 2],
               (long long)b->taken_us[b->wanted * 99 / 100]);
        loop_stop(b->loop);
}

/* --- until a manager is lost --------------------------------------------------------------------
 */
static void on_gone(void *arg, pid_t pid UNUSED, int wait_status)
{
        struct bench *b = arg;

        if (wait_status != 0)
                give_up("the command has failed");
        b->gone_us = time_mono_us();
}

static void strike(struct bench *b)
{
        const char *argv[] = {"/bin/sh", "-c", b->command, NULL};
        int fds[] = {-1, 2, 2};
        struct loop_spawn s = {.argv = (char *const *)(uintptr_t)argv,
                               .env = environ,
                               .fds = fds,
                               .n_fds = 3,
                               .on_exit = on_gone,
                               .arg = b};

        b->struck_us = time_mono_us();
        if (loop_spawn(b->loop, &s) < 0)
                give_up("the command cannot be run");
}

static bool has_calm(const struct bench *b)
{
        for (size_t i = 0; i < b->n_lines; i++)
                if (!b->lines[i].has_answered)
                        return false;
        return time_mono_us() - b->begun_us >= CALM_MS * 1000;
}

static void on_taken_again(struct bench *b, int64_t sent_us, int64_t now_us)
{
        if (b->struck_us)
                b->longest_us = MAX(b->longest_us, now_us - MAX(b->last_us, b->struck_us));
        b->last_us = now_us;
        if (b->gone_us && !b->again_us && sent_us >= b->gone_us)
                b->again_us = now_us;
        if (!b->again_us || now_us - b->again_us < CALM_MS * 1000)
                return;
        printf("%lld %lld\n", (long long)(b->again_us - b->struck_us), (long long)b->longest_us);
        loop_stop(b->loop);
}

static struct line *free_line(struct bench *b)
{
        int64_t now_us = time_mono_us();

        for (size_t i = 0; i < b->n_lines; i++) {
                struct line *l = &b->lines[b->next++ % b->n_lines];

                if (!l->asked || now_us - b->sent_us[l->asked] >= ANSWER_MS * 1000)
                        return l;
        }
        return NULL;
}

static void on_timer(void *arg)
{
        struct bench *b = arg;
        struct line *l = free_line(b);

        if (l)
                put_label(l);
        if (!b->struck_us && has_calm(b))
                strike(b);
        loop_timer_set(b->timer, WRITE_MS);
}

/* ------------------------------------------------------------------------------------------------
 */
static void on_limit(void *arg UNUSED)
{
        give_up("not done in time");
}

static void add_line(struct bench *b, const char *endpoint)
{
        struct line *l = &b->lines[b->n_lines++];
        struct net_client_config c = {.endpoint = endpoint, .arg = l, .on_message = on_message};
        struct err err = {0};

        l->bench = b;
        if (net_connect(b->net, &c, &l->client, &err) < 0)
                give_up(err.text);
}

int main(int argc, char **argv)
{
        static struct bench b;
        bool is_write = argc == 5 && str_is_equal(argv[1], "write");
        bool is_lose = argc >= 5 && argc - 4 <= LINKS_MAX && str_is_equal(argv[1], "lose");

        if (!(is_write && parse_u64(argv[3], &b.wanted) == 0 && b.wanted > 0) && !is_lose) {
                fprintf(stderr, "usage: managers_bench write NODE N SOCKET |"
                                " lose NODE COMMAND SOCKET...\n");
                return 2;
        }
        b.node = argv[2];
        b.command = argv[3];
        b.loop = loop_new();
        b.net = net_new(b.loop);
        b.on_taken = is_write ? on_written : on_taken_again;
        b.begun_us = time_mono_us();
        for (int i = 4; i < argc; i++)
                add_line(&b, argv[i]);
        loop_timer_set(loop_timer_new(b.loop, on_limit, &b), LIMIT_MS);
        if (is_write) {
                b.taken_us = xnew_array(int64_t, b.wanted);
                put_label(&b.lines[0]);
        } else {
                b.timer = loop_timer_new(b.loop, on_timer, &b);
                on_timer(&b);
        }
        loop_run(b.loop);
        return 0;
}
