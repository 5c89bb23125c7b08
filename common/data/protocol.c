/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/protocol.h"

#include <stdio.h>

static uint32_t oldest_of(const struct kith_protocol *protocol)
{
    return protocol->oldest == 0 ? protocol->newest : protocol->oldest;
}

uint32_t kith_protocol_common(const struct kith_protocol *ours, const struct kith_protocol *theirs)
{
    uint32_t newest = ours->newest < theirs->newest ? ours->newest : theirs->newest;
    return newest >= oldest_of(ours) && newest >= oldest_of(theirs) ? newest : 0;
}

static void range_text(const struct kith_protocol *protocol, char *ret_text, size_t size)
{
    if (oldest_of(protocol) == protocol->newest) {
        (void)snprintf(ret_text, size, "protocol version %u", protocol->newest);
    } else {
        (void)snprintf(ret_text, size, "protocol versions %u to %u", oldest_of(protocol),
                       protocol->newest);
    }
}

void kith_protocol_differ(const struct kith_protocol *ours, const char *our_name,
                          const struct kith_protocol *theirs, const char *their_name, char *ret_text,
                          size_t size)
{
    char us[64], them[64];
    range_text(ours, us, sizeof us);
    range_text(theirs, them, sizeof them);
    (void)snprintf(ret_text, size, "%.100s speaks %s, %.100s speaks %s; upgrade %.100s", their_name, them,
                   our_name, us, ours->newest < theirs->newest ? our_name : their_name);
}
