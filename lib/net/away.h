/* SPDX-License-Identifier: MIT */
/* Connections of a server that coil_stream_move() has taken to other cores.
 *
 * To who connects and who stops the server it makes no difference where a connection is served: it
 * counts for the limit, and a stop ends its idle reads, waits for it and cancels what outlives the
 * grace. So a record of it stays in the server's list, and goes along, with every further move.
 *
 * The server's core is its home. The end of the connection comes home as a post, on which the
 * record is freed. The server's orders go out as posts, each at most once, and come back, too, so
 * the record knows what is under way and neither core ever touches one that is gone.
 *
 * An order needs no address that is always right, since it is given in two ways: first noted in the
 * record, then posted to the core where the connection is, if it is on any. An arrival first notes
 * the core in the record, then looks for orders. So one of both sees the other, and a post that
 * comes to a core which the connection has left finds nothing to do: it will arrive elsewhere.
 *
 * Invariant: what is of the connection's core is touched only there, between its arrival and its
 * departure; everything else but the two notes is home's.
 */
#ifndef COIL_LIB_NET_AWAY_H
#define COIL_LIB_NET_AWAY_H

#include "net/serve.h"

/* Takes a stream that is about to be moved from whoever lent it, who leaves it alone from now on.
 * Stores the record, if it is a connection of a server, else NULL. Returns 0 or -ENOMEM. */
int coil__away_begin(coil_stream *stream, struct coil__away **ret_away);

/* The calling fiber serves the connection from now on, and has lent its stream to a handler. */
void coil__away_arrive(struct coil__away *away, struct coil__loan *loan);

/* How long the connection may take to close. */
coil_time coil__away_close_timeout(const struct coil__away *away);

/* The connection is closed. On any core; NULL is harmless. */
void coil__away_end(struct coil__away *away);

/* ---- For the server ---- */

/* Ends idle reads (graceful stop); cancels the fibers. Now and after every arrival. */
void coil__away_drain_all(struct coil__server *server);
void coil__away_cancel_all(struct coil__server *server);

#endif
