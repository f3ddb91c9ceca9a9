/* Telling systemd (or whoever set NOTIFY_SOCKET) how a daemon is doing: sd_notify(3). */
#pragma once

/* state: "READY=1", "STOPPING=1". Without NOTIFY_SOCKET nothing happens; failures are ignored, as
 * nobody could do anything about them. */
void notify_service_manager(const char *state);
