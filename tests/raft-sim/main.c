/*
 * raft-sim-run --seeds N [--from N] [--until-failure] | --seed N [--verbose]. Prints TAP, a line a
 * seed; a failure prints the seed that repeats it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

#define FAULT_PHASE_MIN_MS 8000
#define FAULT_PHASE_MAX_MS 30000
#define HEAL_LIMIT_MS      15000
#define HEALED_OPS         20
#define TWICE_EVERY        20 /* of so many seeds one runs twice, and must end the same */

static void converge(struct world *w)
{
        int64_t end = w->now_ms + HEAL_LIMIT_MS;
        const char *stuck = "too few operations were done";

        while (w->now_ms < end && run_until(w, w->now_ms + 200)) {
                if (w->healed_ops >= HEALED_OPS && !w->is_closing) {
                        w->is_closing = true;
                        if (w->hung)
                                node_by_id(w, w->hung)->disk_hangs_until = 0;
                }
                if (w->is_closing)
                        stuck = check_converged(w);
                if (!stuck)
                        return;
        }
        fail(w, "stuck %d s after all faults stopped: %s", HEAL_LIMIT_MS / 1000, stuck);
}

struct outcome {
        bool is_ok;
        uint64_t hash; /* tells one run from another */
        struct counts counts;
        char text[256];
};

static void begin(struct world *w, uint64_t seed, bool is_verbose)
{
        memset(w, 0, sizeof(*w));
        w->seed = seed;
        w->rng.state = seed * 0x2545f4914f6cdd1du + 7;
        w->is_verbose = is_verbose;
        draw_world(w);
        node_start(node_new(w));
        at(w, 10, client_act, NULL, NULL);
        at(w, 500, fault_act, NULL, NULL);
        at(w, 100, admin_act, NULL, NULL);
}

static struct outcome judge(struct world *w)
{
        struct outcome o = {.is_ok = !w->failure[0], .counts = w->counts};
        const struct counts *c = &o.counts;

        o.hash = (w->committed ? w->slots[w->committed].hash : 0) ^ c->messages << 32 ^ c->events;
        snprintf(o.text, sizeof(o.text),
                 "%zu voters, %zu nodes, %lu commits, %lu elections, %lu changes, %lu snapshots, "
                 "%lu crashes, %lu messages, %.0f s",
                 w->target, w->n_nodes, c->commits, c->elections, c->changes, c->snapshots,
                 c->crashes, c->messages, (double)w->now_ms / 1000);
        if (!o.is_ok)
                printf("# seed %lu at %.3f s: %s\n# again with: raft-sim-run --seed %lu "
                       "--verbose\n",
                       w->seed, (double)w->now_ms / 1000, w->failure, w->seed);
        return o;
}

static struct outcome run(uint64_t seed, bool is_verbose)
{
        static struct world w;

        begin(&w, seed, is_verbose);
        if (run_until(&w, between(&w, FAULT_PHASE_MIN_MS, FAULT_PHASE_MAX_MS))) {
                heal(&w);
                converge(&w);
        }
        history_check(&w);
        struct outcome o = judge(&w);
        world_done(&w);
        return o;
}

static void add(struct counts *sum, const struct counts *more)
{
        uint64_t *to = (uint64_t *)sum;
        const uint64_t *from = (const uint64_t *)more;

        for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
                to[i] += from[i];
}

static bool run_seed(uint64_t seed, bool is_verbose, struct counts *sum)
{
        struct outcome o = run(seed, is_verbose);

        if (o.is_ok && seed % TWICE_EVERY == 0 && run(seed, false).hash != o.hash) {
                o.is_ok = false;
                printf("# seed %lu: a second run went another way\n", seed);
        }
        add(sum, &o.counts);
        printf("%s %lu - seed %lu: %s\n", o.is_ok ? "ok" : "not ok", seed, seed, o.text);
        fflush(stdout);
        return o.is_ok;
}

static void print_sum(const struct counts *c)
{
        printf("# %lu commits, %lu elections, %lu transfers, %lu changes (%lu of the leader), "
               "%lu snapshots, %lu truncations, %lu crashes, %lu torn, %lu reads, %lu writes, "
               "%lu unknown, %lu messages\n",
               c->commits, c->elections, c->transfers, c->changes, c->removed_leaders, c->snapshots,
               c->truncations, c->crashes, c->torn, c->reads, c->writes, c->unknown, c->messages);
}

int main(int argc, char **argv)
{
        uint64_t first = 1, n = 20, failures = 0;
        bool is_verbose = false, is_until_failure = false;
        struct counts sum = {0};

        for (int i = 1; i < argc; i++) {
                bool has_value = i + 1 < argc;

                if (str_is_equal(argv[i], "--verbose")) {
                        is_verbose = true;
                } else if (str_is_equal(argv[i], "--until-failure")) {
                        is_until_failure = true;
                } else if (str_is_equal(argv[i], "--seed") && has_value &&
                           parse_u64(argv[i + 1], &first) == 0) {
                        n = 1;
                        i++;
                } else if (str_is_equal(argv[i], "--seeds") && has_value &&
                           parse_u64(argv[i + 1], &n) == 0) {
                        i++;
                } else if (str_is_equal(argv[i], "--from") && has_value &&
                           parse_u64(argv[i + 1], &first) == 0) {
                        i++;
                } else {
                        fprintf(stderr, "usage: raft-sim-run [--seed N | --seeds N [--from N]] "
                                        "[--verbose] "
                                        "[--until-failure]\n");
                        return 2;
                }
        }
        for (uint64_t seed = first; seed < first + n && !(is_until_failure && failures); seed++)
                failures += !run_seed(seed, is_verbose, &sum);
        print_sum(&sum);
        printf("1..%lu\n", n);
        return failures ? 1 : 0;
}
