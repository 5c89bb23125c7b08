/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "ctl/ctl.h"

int main(int argc, char *argv[])
{
    /* gRPC's own lines would stand between a command's; what matters comes as our error text */
    (void)setenv("GRPC_VERBOSITY", "NONE", 0);
    return kith_ctl_main(argc, argv);
}
