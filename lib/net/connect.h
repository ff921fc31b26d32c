/* SPDX-License-Identifier: MIT */
/* Connecting to one socket address: what coil_connect() does for each address of a name. */
#ifndef COIL_LIB_NET_CONNECT_H
#define COIL_LIB_NET_CONNECT_H

#include <coil/stream.h>

#include "net/addr.h"

/* `local` may be NULL. Parks. Returns 0 or why not. */
int coil__connect_to(const struct coil__addr *remote, const struct coil__addr *local,
                     coil_stream **ret_stream);

#endif
