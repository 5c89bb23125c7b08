/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * choose.h - a file's versions made one, or files of their own: through the files of the mount.
 *
 * What is kept is stored and flushed before any version is removed, and those alone are removed
 * that the list names: another that turns up meanwhile stays. A file with hard links is written in
 * place, so that it stays one file under all its names; any other is replaced in one step. One
 * thread. */
#ifndef KITH_CTL_CHOOSE_H
#define KITH_CTL_CHOOSE_H

#include "ctl/files/beside.h"

#define KITH_CHOOSE_NAME_MAX 255u /* bytes */

/* A name for a version that becomes a file of its own,
 * `report.version-20261121T013000Z-anna@mars.odt` of `report.odt`; the attempt-th try (from 1) has
 * "-2", ... behind the writer. The stem is cut at a UTF-8 boundary. Pure. */
void kith_choose_name(const char *base, const char *time, const char *writer, unsigned attempt,
                      char ret_name[KITH_CHOOSE_NAME_MAX + 1]);

/* Version `number` (from 1) gets the name, the others of the list go. What is not done by an error
 * is left as it was. EREFUSED: one of them is a directory. EIO. */
KITH_MUST_CHECK enum kith_err kith_choose_version(const struct kith_beside *beside, uint32_t number,
                                                  struct kith_error *error);
/* What the file at `path` holds gets the name, all others go. EREFUSED: somebody has changed it
 * since `beside` was read. EIO. */
KITH_MUST_CHECK enum kith_err kith_choose_file(const struct kith_beside *beside, const char *path,
                                               struct kith_error *error);
/* The index-th of the list (from 1; index 0 is the one that bears the name) gets a free name, in
 * ret_name. EIO. */
KITH_MUST_CHECK enum kith_err kith_choose_part(const struct kith_beside *beside, uint32_t index,
                                               char ret_name[KITH_CHOOSE_NAME_MAX + 1],
                                               struct kith_error *error);

#endif
