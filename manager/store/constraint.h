/*
 * Placement constraints, "node.labels.zone==a": parsing and matching over the store's objects, used
 * by the api (validation), the scheduler (filter) and the orchestrator (global services,
 * enforcement). Keys: node.id, node.hostname, node.ip (address or CIDR), node.role,
 * node.platform.os, node.platform.arch, node.labels.K, engine.labels.K; operators == and !=; values
 * match whole and without regard to case; a missing label equals "".
 */
#pragma once

#include "shared/base/err.h"
#include "shared/model/objects.h"

struct constraint;

/* Parses a list of n; one block, freed with free(). The expressions are borrowed: they must outlive
 * it (a spec does). -EINVAL with text. */
int constraint_parse(char *const *expressions, size_t n, struct constraint **ret, struct err *err);
bool constraint_is_met(const struct constraint *c, const struct node *node);
/* All constraints of a spec; a spec in the store is valid, so one that does not parse matches
 * nothing. */
bool constraint_spec_is_met(const struct spec *spec, const struct node *node);
/* "x86_64" and "amd64" are one, "aarch64" and "arm64" as well. No platforms in the spec: any node.
 */
bool platform_is_met(const struct spec *spec, const struct node *node);
