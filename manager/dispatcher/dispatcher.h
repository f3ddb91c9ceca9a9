/*
 * dispatcher: the stage that talks with agents. In: joins, registrations, heartbeats, status
 * reports, log data. Out: sessions, assignments, acknowledgements. It alone decides which nodes are
 * ready, suspect and down.
 */
#pragma once

#include "manager/turn.h"

struct dispatcher;
