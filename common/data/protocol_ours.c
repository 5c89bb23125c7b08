/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file of its own: tests link another one, for a node of the next release. */
#include "data/protocol.h"

struct kith_protocol kith_protocol_ours(void)
{
    return (struct kith_protocol){KITH_PROTOCOL_VERSION, KITH_PROTOCOL_OLDEST,
                                  KITH_PROTOCOL_FEATURES};
}
