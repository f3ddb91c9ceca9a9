/*
 * The world and the program: sim-run --seeds N | --seed N [--until-failure] [--verbose]. Prints
 * TAP, a line a seed; a failure prints the seed that repeats it.
 */
#include "tests/sim/sim.h"
#include "shared/base/log.h"
#include "tests/sim/sim_told.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FAULT_PHASE_MIN_MS 30000
#define FAULT_PHASE_MAX_MS 90000
#define HEAL_LIMIT_MS      1200000
#define MANAGERS_LIMIT_MS  120000 /* for the managers to be of one mind */
#define EVENTS_MAX         5000000
#define TWICE_EVERY        20 /* of so many seeds one runs twice, and must end the same */

struct sim_event {
        int64_t at;
        uint64_t seq;
        sim_fn *fn;
        void *arg;
};

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
        return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(struct sim *sim, int64_t delay_ms, sim_fn *fn, void *arg)
{
        if (sim->n_events == sim->cap_events) {
                sim->cap_events = sim->cap_events ? sim->cap_events * 2 : 256;
                sim->events = xreallocarray(sim->events, sim->cap_events, sizeof(struct sim_event));
        }
        struct sim_event e = {sim->now_ms + delay_ms, sim->event_seq++, fn, arg};
        size_t i = sim->n_events++;

        for (; i > 0 && is_before(&e, &sim->events[(i - 1) / 2]); i = (i - 1) / 2)
                sim->events[i] = sim->events[(i - 1) / 2];
        sim->events[i] = e;
}

static struct sim_event pop_event(struct sim *sim)
{
        struct sim_event top = sim->events[0], last = sim->events[--sim->n_events];
        size_t i = 0;

        for (;;) {
                size_t child = 2 * i + 1;

                if (child >= sim->n_events)
                        break;
                if (child + 1 < sim->n_events &&
                    is_before(&sim->events[child + 1], &sim->events[child]))
                        child++;
                if (!is_before(&sim->events[child], &last))
                        break;
                sim->events[i] = sim->events[child];
                i = child;
        }
        sim->events[i] = last;
        return top;
}

struct now sim_now(const struct sim *sim)
{
        struct now now = {sim->now_ms, SIM_WALL_START_MS + sim->now_ms};

        return now;
}

bool sim_chance(struct sim *sim, uint64_t of_thousand)
{
        return rng_below(&sim->rng, 1000) < of_thousand;
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
        return low + (int64_t)rng_below(&sim->rng, (uint64_t)(high - low + 1));
}

void sim_fail(struct sim *sim, const char *format, ...)
{
        va_list ap;

        if (sim->failure[0])
                return;
        va_start(ap, format);
        vsnprintf(sim->failure, sizeof(sim->failure), format, ap);
        va_end(ap);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
        va_list ap;

        if (!sim->is_verbose)
                return;
        printf("# %8.3f ", (double)sim->now_ms / 1000);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

/* What happens by itself, again and again. */
static void second(struct sim *sim, void *arg UNUSED)
{
        sim_fault_second(sim);
        if (!sim->is_healed)
                sim_client_act(sim);
        else if (!sim->is_settled)
                sim->is_settled = sim_client_settle(sim);
        sim_at(sim, 1000, second, NULL);
}

static void registers(struct sim *sim, void *arg UNUSED)
{
        int64_t again_ms = sim_register_act(sim);

        if (!sim->is_settled)
                sim_at(sim, again_ms, registers, NULL);
}

/* --- a run ---------------------------------------------------------------------------------------
 */
static bool run_until(struct sim *sim, int64_t until_ms)
{
        while (sim->n_events && sim->events[0].at <= until_ms && !sim->failure[0]) {
                struct sim_event e = pop_event(sim);

                sim->now_ms = e.at;
                e.fn(sim, e.arg);
                sim_check_step(sim);
                if (sim->event_seq > EVENTS_MAX)
                        sim_fail(sim, "more than %d events: something turns without end",
                                 EVENTS_MAX);
        }
        sim->now_ms = until_ms;
        return !sim->failure[0];
}

static void converge(struct sim *sim)
{
        int64_t begin = sim->now_ms, end = begin + HEAL_LIMIT_MS;
        const char *stuck = "never looked";
        bool were_one = false;

        while (sim->now_ms < end && run_until(sim, sim->now_ms + 5000)) {
                stuck = sim_check_managers(sim);
                were_one = were_one || !stuck;
                if (!were_one && sim->now_ms > begin + MANAGERS_LIMIT_MS)
                        break;
                if (!stuck)
                        stuck = sim_check_converged(sim);
                if (!stuck)
                        return;
        }
        sim_fail(sim, "stuck %lld s after all faults stopped: %s",
                 (long long)(sim->now_ms - begin) / 1000, stuck);
}

static void sim_init(struct sim *sim, uint64_t seed, bool is_verbose)
{
        memset(sim, 0, sizeof(*sim));
        sim->seed = seed;
        sim->rng.state = seed * 0x2545f4914f6cdd1du + 1;
        sim->is_verbose = is_verbose;
        sim->n_agents = (int)sim_between(sim, 2, SIM_NODES_MAX);
        sim->n_services = (int)sim_between(sim, 1, SIM_SERVICES_MAX);
        sim_fault_draw(sim);
        snprintf(sim->worker_secret, sizeof(sim->worker_secret), "%s", ID_S(id_make(&sim->rng)));
        snprintf(sim->manager_secret, sizeof(sim->manager_secret), "%s", ID_S(id_make(&sim->rng)));
        sim_agreed_init(sim);
        sim_told_init(sim);
        for (int i = 0; i < sim->n_managers; i++)
                sim_manager_init(sim, i);
        for (int i = 0; i < sim->n_agents; i++)
                sim_agent_init(sim, i);
        sim_client_init(sim);
        sim_register_init(sim);
        sim_at(sim, 1000, second, NULL);
        sim_at(sim, 1000, registers, NULL);
}

/* Those of managers are void by now, and free what they have. */
static void free_events(struct sim *sim)
{
        while (sim->n_events) {
                struct sim_event e = pop_event(sim);

                if (e.fn == sim_manager_event)
                        sim_manager_event(sim, e.arg);
                else
                        free(e.arg);
        }
        free(sim->events);
}

static void done(struct sim *sim)
{
        for (int i = 0; i < sim->n_agents; i++)
                sim_agent_done(&sim->agents[i]);
        for (int i = 0; i < sim->n_managers; i++)
                sim_manager_done(&sim->managers[i]);
        sim_client_done(sim);
        sim_register_done(sim);
        free_events(sim);
        sim_agreed_done(sim);
        sim_told_done(sim);
}

struct outcome {
        bool is_ok;
        uint64_t hash; /* tells one run from another */
        char text[256];
};

static struct outcome judge(struct sim *sim)
{
        struct outcome o = {.is_ok = !sim->failure[0]};

        o.hash = store_hash(sim->agreed.shadow) ^ sim->n_messages << 32 ^ sim->event_seq;
        snprintf(o.text, sizeof(o.text),
                 "%d managers, %d nodes, %d services, %llu commits, %llu messages, %llu crashes, "
                 "%llu leaders, %llu drops, %llu snapshots, %zu operations, %llu starts, %.0f s",
                 sim->n_managers, sim->n_agents, sim->n_services, (unsigned long long)sim->agreed.n,
                 (unsigned long long)sim->n_messages, (unsigned long long)sim->n_crashes,
                 (unsigned long long)sim->n_elections, (unsigned long long)sim->n_drops,
                 (unsigned long long)sim->n_installs, sim->registers.n,
                 (unsigned long long)sim->n_starts, (double)sim->now_ms / 1000);
        if (!o.is_ok)
                printf("# seed %llu at %.3f s: %s\n# again with: make sim SEED=%llu\n",
                       (unsigned long long)sim->seed, (double)sim->now_ms / 1000, sim->failure,
                       (unsigned long long)sim->seed);
        return o;
}

static struct outcome run(uint64_t seed, bool is_verbose)
{
        static struct sim sim;

        sim_init(&sim, seed, is_verbose);
        int64_t faults_end = sim_between(&sim, FAULT_PHASE_MIN_MS, FAULT_PHASE_MAX_MS);
        if (run_until(&sim, faults_end)) {
                sim_fault_heal(&sim);
                converge(&sim);
        }
        for (int i = 0; i < sim.n_managers; i++)
                sim_manager_trace(&sim.managers[i]);
        sim_register_check(&sim);
        struct outcome o = judge(&sim);
        done(&sim);
        return o;
}

static bool run_seed(uint64_t seed, bool is_verbose)
{
        struct outcome o = run(seed, is_verbose);

        if (o.is_ok && seed % TWICE_EVERY == 0 && run(seed, false).hash != o.hash) {
                o.is_ok = false;
                printf("# seed %llu: a second run went another way\n", (unsigned long long)seed);
        }
        printf("%s %llu - seed %llu: %s\n", o.is_ok ? "ok" : "not ok", (unsigned long long)seed,
               (unsigned long long)seed, o.text);
        fflush(stdout);
        return o.is_ok;
}

int main(int argc, char **argv)
{
        uint64_t first = 1, n = 20, failures = 0;
        bool is_verbose = false, until_failure = false;

        log_set_level(LOG_LEVEL_ERROR);
        for (int i = 1; i < argc; i++) {
                bool has_value = i + 1 < argc;

                if (str_is_equal(argv[i], "--verbose")) {
                        is_verbose = true;
                } else if (str_is_equal(argv[i], "--until-failure")) {
                        until_failure = true;
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
                        fprintf(stderr, "usage: sim-run [--seed N | --seeds N [--from N]] "
                                        "[--until-failure] [--verbose]\n");
                        return 2;
                }
        }
        for (uint64_t seed = first; seed < first + n && !(until_failure && failures); seed++)
                failures += !run_seed(seed, is_verbose);
        printf("1..%llu\n", (unsigned long long)n);
        return failures ? 1 : 0;
}
