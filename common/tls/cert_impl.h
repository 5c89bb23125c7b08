/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert_impl.h - what the files of common/tls share.
 *
 *     cert.c        what a certificate says
 *     trust.c       whether it is to be believed
 *     authority.c   making authorities, certificates and lists
 *     pem_file.c    the files that they lie in */
#ifndef KITH_TLS_CERT_IMPL_H
#define KITH_TLS_CERT_IMPL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tls/cert.h"

#define CERT_URI "kithfs:" /* what all names of ours in subjectAltName begin with */

/* The first of its kind in the text; freed with X509_free, X509_CRL_free, EVP_PKEY_free. `what`
 * names it in the message. */
KITH_MUST_CHECK enum kith_err cert_load(struct kith_bytes pem, const char *what, X509 **ret_cert,
                                        struct kith_error *error);
KITH_MUST_CHECK enum kith_err cert_load_key(struct kith_bytes pem, const char *what,
                                            EVP_PKEY **ret_key, struct kith_error *error);
/* A BIO over the bytes, which stay the caller's. NULL: no memory. */
BIO *cert_bio(struct kith_bytes bytes);
/* Takes all there is in it to the end of `out`. */
KITH_MUST_CHECK enum kith_err cert_bio_take(BIO *bio, struct kith_buf *out,
                                            struct kith_error *error);
/* What the certificate says. EFORMAT. */
KITH_MUST_CHECK enum kith_err cert_understand(const X509 *cert, struct kith_cert *ret_cert,
                                              struct kith_error *error);
/* The one text of that kind in a name, as it stands there; false: none, several, or too long. */
bool cert_name_text(const X509_NAME *name, int nid, char *text, size_t size);
/* The number of KITH_CERT_SERIAL_SIZE's form, freed with ASN1_INTEGER_free. NULL: it is none, or
 * there is no memory. */
ASN1_INTEGER *cert_serial_parse(const char *text);
/* OpenSSL's first error in words, and forgets all of them: they are a thread's, and would be taken
 * for those of what it does next. */
void cert_openssl_text(char *text, size_t size);

#endif
