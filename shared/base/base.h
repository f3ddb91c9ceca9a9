/*
 * base: the small things that everything else stands on. This header gathers the layer's parts;
 * a file includes this one, or only the part it needs.
 */
#pragma once

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/base/io.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/rng.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
