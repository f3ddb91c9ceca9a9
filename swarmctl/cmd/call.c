/* A command's line to the manager: connecting when first needed, the time-out of the whole command,
 * and every failure said once. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/time.h"
#include "swarmctl/client/client.h"
#include "swarmctl/cmd/ctl_internal.h"

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

int64_t ctl_time_left(const struct ctl *ctl)
{
        if (ctl->deadline_ms == TIME_NEVER)
                return CLIENT_NO_TIMEOUT;
        return MAX(ctl->deadline_ms - time_now().mono_ms, 0);
}

static int say_timed_out(struct ctl *ctl)
{
        char text[FORMAT_MAX];

        return ctl_fail(ctl, CLIENT_EXIT_TIMED_OUT, "timed out after %s",
                        format_duration_ms(ctl->timeout_ms, text));
}

struct client *ctl_client(struct ctl *ctl, int *ret_exit)
{
        const struct client_config config = {.host = ctl->host};
        struct err err = {0};

        if (ctl->client)
                return ctl->client;
        int r = client_open(&config, &ctl->client, &err);
        if (r < 0) {
                ctl->client = NULL;
                *ret_exit = ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text);
        }
        return ctl->client;
}

void ctl_disconnect(struct ctl *ctl)
{
        client_close(ctl->client);
        ctl->client = NULL;
}

int ctl_call(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret)
{
        struct err err = {0};
        int code = 0;
        struct client *c = ctl_client(ctl, &code);
        int64_t left = ctl_time_left(ctl);

        if (!c)
                return code;
        if (left == 0)
                return say_timed_out(ctl);
        int r = client_call(c, q, left == CLIENT_NO_TIMEOUT ? 0 : left, ret, &err);
        if (r == -ETIMEDOUT && left != CLIENT_NO_TIMEOUT)
                return say_timed_out(ctl);
        if (r < 0)
                return ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text);
        return 0;
}

int ctl_stream_open(struct ctl *ctl, Swarm__Request *q, struct client_stream **ret)
{
        struct err err = {0};
        int code = 0;
        struct client *c = ctl_client(ctl, &code);

        if (!c)
                return code;
        int r = client_stream_open(c, q, ret, &err);
        if (r < 0)
                return ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text);
        return 0;
}

int ctl_stream_next(struct ctl *ctl, struct client_stream *s, int64_t wait_ms,
                    Swarm__Response **ret, int *ret_exit)
{
        struct err err = {0};
        int64_t left = ctl_time_left(ctl);
        const bool is_last =
                left != CLIENT_NO_TIMEOUT && (wait_ms == CLIENT_NO_TIMEOUT || left <= wait_ms);
        int r = client_stream_next(s, is_last ? left : wait_ms, ret, &err);

        if (r >= 0)
                return r;
        if (r == -ETIMEDOUT && !is_last)
                return -EAGAIN;
        if (r == -ETIMEDOUT)
                *ret_exit = say_timed_out(ctl);
        else
                *ret_exit = ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text);
        return -ECANCELED;
}
