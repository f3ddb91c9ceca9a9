/*
 * api: the stage that hears clients. It validates requests, changes services, nodes, images and
 * settings in the store, answers queries, and keeps the streams (watch, events, logs).
 */
#pragma once

#include "manager/turn.h"

struct api;
