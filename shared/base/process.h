/* process: what our programs ask of the system for themselves. */
#pragma once

/* Of a program that cannot run, and would not the next time either. */
#define EXIT_USAGE      2 /* it was told what cannot be, or too little */
#define EXIT_NOT_MEMBER 3 /* the cluster does not have it, or not any more */

/* As many descriptors as it may have (each connection and container needs some), a heap that gives
 * back what it does not need, and signals that mean nothing here (SIGUSR1, SIGUSR2; SIGHUP until
 * the loop takes it) do nothing. Once, before any thread is started. */
void process_prepare(void);
/* Descriptors 0 to 2 that are closed become /dev/null; process_prepare does so, too. First of all.
 */
void process_open_stdio(void);
/* Lets go of the pages of code that only the start needed; what is needed again comes back by
 * itself. Once, when the program is ready. */
void process_settle(void);
/* Gives back what is free of the heap, also in its middle: after much work. From any thread; takes
 * some milliseconds for 100 MB, in which others may wait for memory. */
void process_trim(void);
