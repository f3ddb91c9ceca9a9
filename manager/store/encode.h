/*
 * The store's objects as messages: for the log, the state tables, and the api's answers. A message
 * borrows from its object and from the struct around it: it is valid while both are, and unchanged.
 */
#pragma once

#include "manager/store/store.h"

struct object_msg {
        union {
                Swarm__Node node;
                Swarm__Service service;
                Swarm__SpecVersion spec;
                Swarm__Task task;
        } m;
        Swarm__UpdateStatus update;
        uint8_t ids[3][ID_BYTES];
};

/* object is of the table's kind. Returns the message: in ret, or the object's own. */
const ProtobufCMessage *object_encode(struct store *s, enum row_table kind, void *object,
                                      struct object_msg *ret);
