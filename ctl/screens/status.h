/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * status.h - the status screen, also for `local status`. */
#ifndef KITH_CTL_STATUS_H
#define KITH_CTL_STATUS_H

#include <jansson.h>

#include "ctl/ask/view.h"
#include "ctl/ctl.h"

/* The screen as text on `out` (status_text.c). ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_status_print(struct kith_view *view, FILE *out, bool colours);
/* Its line about the chunks that nothing refers to: when the nodes looked for them, and what went;
 * none where there is nothing to say. */
void kith_status_sweep_print(const struct kith_view *view, FILE *out);
/* The screen as JSON (status.c); NULL: memory is short. */
json_t *kith_status_json(struct kith_view *view);
/* Reads and shows the cluster behind the servers (args->json: as JSON); the exit status. */
int kith_status_show(const struct kith_ctl_args *args, const char *const servers[], uint32_t count);

#endif
