/*
 * Messages as JSON, through their descriptors: for people, never read back. Field names are those
 * of the proto files; fields that have their zero value and empty lists are left out; bytes of the
 * length of an id are shown as one, other bytes in hexadecimal.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "shared/base/buf.h"

/* Appends the message on one line. */
void wire_json(const ProtobufCMessage *m, struct buf *b);
/* Appends s quoted; what is not UTF-8 becomes U+FFFD. */
void wire_json_str(const char *s, struct buf *b);
