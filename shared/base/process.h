/* process: what a daemon asks of the system for itself. */
#pragma once

/* As many descriptors as it may have (each connection and container needs some), and a heap that
 * gives back what it does not need. Once, before any thread is started. */
void process_prepare(void);
