/* A command's line to the manager: connecting when first needed, the time-out of the whole command,
 * and every failure said once. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/time.h"
#include "swarmctl/client/client.h"
#include "swarmctl/cmd/ctl_internal.h"

#define RETRY_MS   200
#define LASTING_MS 5000 /* a connection that breaks sooner has not ended the search for one */

static const char *volatile interrupt_text;

static void on_interrupt(int signum)
{
        const char *s = interrupt_text;

        (void)signum;
        if (s && write(STDERR_FILENO, s, strlen(s)) < 0)
                _exit(CTL_EXIT_INTERRUPTED);
        _exit(CTL_EXIT_INTERRUPTED);
}

void ctl_on_interrupt(const char *text)
{
        struct sigaction sa = {.sa_handler = text ? on_interrupt : SIG_DFL};

        interrupt_text = text;
        sigaction(SIGINT, &sa, NULL);
}

static const char *volatile unfinished_path;

static void on_end(int signum)
{
        const char *path = unfinished_path;

        (void)signum;
        if (path)
                unlink(path);
        _exit(CTL_EXIT_INTERRUPTED);
}

void ctl_remove_on_interrupt(const char *path)
{
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
        struct sigaction sa = {.sa_handler = path ? on_end : SIG_DFL};

        unfinished_path = path;
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                sigaction(signals[i], &sa, NULL);
}

int64_t ctl_time_left(const struct ctl *ctl)
{
        if (ctl->deadline_ms == TIME_NEVER)
                return CLIENT_NO_TIMEOUT;
        return MAX(ctl->deadline_ms - time_now().mono_ms, 0);
}

int64_t ctl_timeout(const struct ctl *ctl)
{
        return ctl->timeout_ms;
}

static int set_timed_out(const struct ctl *ctl, struct err *err)
{
        char text[FORMAT_MAX];

        return err_set(err, ETIMEDOUT, "timed out after %s",
                       format_duration_ms(ctl->timeout_ms, text));
}

static int say(struct ctl *ctl, int r, const struct err *err)
{
        return r < 0 ? ctl_fail(ctl, (int)client_exit_code(r), "%s", err->text) : 0;
}

static int connect_once(struct ctl *ctl, struct err *err)
{
        const struct client_config config = {.host = ctl->host};
        const bool was_connected = ctl->client;
        int r = was_connected ? 0 : client_open(&config, &ctl->client, err);

        if (r < 0)
                ctl->client = NULL;
        else if (!was_connected)
                ctl->connected_ms = time_now().mono_ms;
        return r;
}

struct client *ctl_client(struct ctl *ctl, int *ret_exit)
{
        struct err err = {0};
        int r = connect_once(ctl, &err);

        if (r < 0)
                *ret_exit = say(ctl, r, &err);
        return ctl->client;
}

void ctl_disconnect(struct ctl *ctl)
{
        client_close(ctl->client);
        ctl->client = NULL;
}

/* A manager that waits for something knows then how long it may. */
static void tell_wait(const struct ctl *ctl, Swarm__Request *q)
{
        int64_t left = ctl_time_left(ctl);

        q->wait_ms = left == CLIENT_NO_TIMEOUT ? 0 : (uint32_t)MIN(left, (int64_t)UINT32_MAX);
}

int ctl_call_try(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret, struct err *err)
{
        int64_t left = ctl_time_left(ctl);
        int r = connect_once(ctl, err);

        if (r < 0)
                return r;
        if (left == 0)
                return set_timed_out(ctl, err);
        tell_wait(ctl, q);
        r = client_call(ctl->client, q, left == CLIENT_NO_TIMEOUT ? 0 : left, ret, err);
        return r == -ETIMEDOUT && left != CLIENT_NO_TIMEOUT ? set_timed_out(ctl, err) : r;
}

/* --- questions that were lost -------------------------------------------------------------------
 */
static bool is_away(int r)
{
        return r == -EHOSTUNREACH || r == -ENOTCONN || r == -EAGAIN;
}

/* It changes nothing, so that it may be asked twice. */
static bool is_question(const Swarm__Request *q)
{
        switch (q->kind_case) {
        case SWARM__REQUEST__KIND_SERVICE_LIST:
        case SWARM__REQUEST__KIND_SERVICE_GET:
        case SWARM__REQUEST__KIND_TASK_LIST:
        case SWARM__REQUEST__KIND_TASK_GET:
        case SWARM__REQUEST__KIND_NODE_LIST:
        case SWARM__REQUEST__KIND_NODE_GET:
        case SWARM__REQUEST__KIND_MANAGER_LIST:
        case SWARM__REQUEST__KIND_BACKUP_GET:
        case SWARM__REQUEST__KIND_IMAGE_LIST:
        case SWARM__REQUEST__KIND_IMAGE_GET:
        case SWARM__REQUEST__KIND_CLUSTER_GET:
        case SWARM__REQUEST__KIND_INFO: return true;
        case SWARM__REQUEST__KIND_UNLOCK_KEY: return !q->unlock_key->rotate;
        case SWARM__REQUEST__KIND_JOIN_TOKEN: return !q->join_token->rotate;
        default: return false;
        }
}

bool ctl_asks_again(struct ctl *ctl, const Swarm__Request *q, struct ctl_asking *asking, int r)
{
        const int64_t left_ms = ctl_time_left(ctl);
        const bool is_late = left_ms == CLIENT_NO_TIMEOUT
                                     ? time_now().mono_ms >= asking->begun_ms + CTL_ASK_AGAIN_MS
                                     : left_ms == 0;

        asking->was_lost |= r == -ENOTCONN;
        /* EAGAIN: the manager itself has waited for a leader, and says why there is none. */
        if (is_late || !is_question(q) || !asking->was_lost || !is_away(r) || r == -EAGAIN)
                return false;
        ctl_disconnect(ctl);
        poll(NULL, 0, RETRY_MS);
        return true;
}

int ctl_call(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret)
{
        struct ctl_asking asking = {.begun_ms = time_now().mono_ms};
        struct err err;
        int r;

        do {
                err = (struct err){0};
                r = ctl_call_try(ctl, q, ret, &err);
        } while (ctl_asks_again(ctl, q, &asking, r));
        return say(ctl, r, &err);
}

int ctl_stream_try(struct ctl *ctl, Swarm__Request *q, struct client_stream **ret, struct err *err)
{
        int r = connect_once(ctl, err);

        if (r < 0)
                return r;
        tell_wait(ctl, q);
        return client_stream_open(ctl->client, q, ret, err);
}

int ctl_stream_open(struct ctl *ctl, Swarm__Request *q, struct client_stream **ret)
{
        struct err err = {0};

        return say(ctl, ctl_stream_try(ctl, q, ret, &err), &err);
}

int ctl_stream_next(struct ctl *ctl, struct client_stream *s, int64_t wait_ms,
                    Swarm__Response **ret, struct err *err)
{
        int64_t left = ctl_time_left(ctl);
        const bool is_last =
                left != CLIENT_NO_TIMEOUT && (wait_ms == CLIENT_NO_TIMEOUT || left <= wait_ms);
        int r = client_stream_next(s, is_last ? left : wait_ms, ret, err);

        if (r == -ETIMEDOUT)
                return is_last ? set_timed_out(ctl, err) : -EAGAIN;
        return r == -EAGAIN ? -ENOTCONN : r; /* a manager that takes nothing now */
}

/* --- when the manager is away -------------------------------------------------------------------
 */
/* Waits a little before the next try. err: why the last one failed. 0, or an exit code, said. */
static int wait_away(struct ctl *ctl, const char *what, const struct err *err)
{
        const int64_t now_ms = time_now().mono_ms, timeout_left_ms = ctl_time_left(ctl);

        if (!ctl->lost_ms || (ctl->client && now_ms - ctl->connected_ms >= LASTING_MS))
                ctl->lost_ms = now_ms;
        ctl_disconnect(ctl);
        int64_t left_ms = ctl->lost_ms + CTL_RECONNECT_MS - now_ms;
        if (timeout_left_ms != CLIENT_NO_TIMEOUT)
                left_ms = MIN(left_ms, timeout_left_ms);
        if (left_ms <= 0)
                return ctl_fail(ctl, CLIENT_EXIT_NO_MANAGER, "%s: %s", what, err->text);
        poll(NULL, 0, (int)MIN(left_ms, RETRY_MS));
        return 0;
}

int ctl_ask(struct ctl *ctl, Swarm__Request *q, const char *what, Swarm__Response **ret)
{
        for (;;) {
                struct err err = {0};
                int r = ctl_call_try(ctl, q, ret, &err);

                if (!is_away(r))
                        return say(ctl, r, &err);
                r = wait_away(ctl, what, &err);
                if (r)
                        return r;
        }
}

int ctl_stream_reopen(struct ctl *ctl, Swarm__Request *q, const char *what, struct err *err,
                      struct client_stream **s)
{
        int r = -ENOTCONN;

        *s = NULL; /* goes with the connection */
        while (is_away(r)) {
                int exit_code = wait_away(ctl, what, err);

                if (exit_code)
                        return exit_code;
                r = connect_once(ctl, err);
                if (r >= 0)
                        r = client_stream_open(ctl->client, q, s, err);
        }
        return say(ctl, r, err);
}
