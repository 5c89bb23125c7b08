/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who may talk: TLS with certificates on both sides (tls/cert.h).
 *
 * In the handshake, before a byte of HTTP/2 is read, OpenSSL refuses on both sides who has no
 * certificate of the authority, or one that has ended, and who cannot prove that the key is his; a
 * client there also refuses who is no node, by key usage, by the name that all nodes bear, and with
 * kith_trust_check. What OpenSSL inside gRPC cannot be told - the list of what is revoked, and our
 * rules of what must be understood - a server checks with the first call of a certificate, before
 * any handler hears of it; such a call ends with the reason, for its sender holds a certificate
 * that was good once. Verdicts are kept by the whole text of the certificate, so that a call costs
 * a comparison.
 *
 * Files are followed (tls/identity.h), by the timer, once a second. gRPC's server asks for a new
 * configuration at each handshake; a client makes new channels, and streams that are open go on.
 * The timer also checks every peer's certificate again that was believed by an earlier edition (a
 * handshake may have begun before the files were replaced, and end after), and what has ended or
 * was revoked loses its connections and calls.
 *
 * TLS is 1.2 or 1.3, gRPC's own ciphers: all with ephemeral keys and authenticated encryption. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "rpc/rpc_impl.h"

#define KNOWN_MAX      64u /* verdicts that are kept: of the holders that call, not of the calls */
#define PEM_MAX        65536u /* bytes of a peer's certificate as text */

/* A list of what is revoked that came over the network, until the timer takes it. */
struct offer {
    kith_rpc_offered done;
    void *arg;
    uint64_t conn, id; /* whose it is */
    size_t size;
    uint8_t pem[];
};

/* What gRPC's server was given last, for one port: each asks by itself. */
struct fetch {
    struct rpc_tls *tls;
    uint64_t edition; /* protected by tls->lock */
};

struct rpc_tls {
    struct kith_follow *follow;
    struct fetch fetches[RPC_PORTS_MAX];
    uint32_t fetch_count; /* used while listening is begun */
    pthread_mutex_t lock;
    /* protected by lock */
    uint64_t known_edition;
    uint32_t known_next;
    struct rpc_who *known[KNOWN_MAX];
    struct offer *offer; /* NULL: none waits */
};

/* ---- Reasons ---- */

/* OpenSSL's words, in gRPC's line or in the end of a call, for what a person can mend. */
const char *rpc_tls_reason(const char *text)
{
    static const struct {
        const char *sign, *reason;
    } known[] = {
        {"alert certificate expired", "the other side says that our certificate has expired"},
        {"alert unknown ca", "the other side does not know the authority of our certificate"},
        {"alert bad certificate", "the other side refuses our certificate"},
        {"alert certificate required", "the other side wants a certificate"},
        {"alert certificate unknown", "the other side refuses our certificate"},
        {"certificate verify failed",
         "the other side's certificate has expired, or is not of this cluster's authority"},
        {"peer did not return a certificate", "the other side shows no certificate"},
        {"http request", "the other side does not speak TLS"},
        {"wrong version number", "the other side does not speak TLS"},
        {"unsupported protocol", "the other side speaks no TLS that is safe enough"},
        {"no shared cipher", "the other side speaks no TLS that is safe enough"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(text, known[i].sign)) {
            return known[i].reason;
        }
    }
    return NULL;
}

/* ---- Holders ---- */

struct rpc_who *rpc_who_hold(struct rpc_who *who)
{
    __atomic_add_fetch(&who->refs, 1, __ATOMIC_RELAXED);
    return who;
}

void rpc_who_drop(struct rpc_who *who)
{
    if (who && __atomic_sub_fetch(&who->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        kith_free(who);
    }
}

/* Believed by `identity` now; held. NULL with an error. */
static struct rpc_who *believe(const struct kith_identity *identity, struct kith_bytes pem,
                               struct kith_error *error)
{
    struct kith_cert cert;
    if (kith_trust_check(identity->trust, pem, (int64_t)time(NULL), &cert, error) != KITH_OK) {
        return NULL;
    }
    struct rpc_who *who = kith_malloc(sizeof *who + pem.size);
    if (!who) {
        (void)kith_error_set(error, KITH_ENOMEM, "out of memory");
        return NULL;
    }
    who->refs = 1;
    who->edition = identity->edition;
    who->cert = cert;
    who->pem_size = pem.size;
    memcpy(who->pem, pem.data, pem.size);
    return who;
}

static void forget(struct rpc_tls *tls)
{
    for (uint32_t i = 0; i < KNOWN_MAX; i++) {
        rpc_who_drop(tls->known[i]);
        tls->known[i] = NULL;
    }
}

/* lock held; held for the caller. */
static struct rpc_who *find_known(struct rpc_tls *tls, uint64_t edition, struct kith_bytes pem)
{
    if (tls->known_edition != edition) {
        forget(tls);
        tls->known_edition = edition;
    }
    for (uint32_t i = 0; i < KNOWN_MAX; i++) {
        struct rpc_who *who = tls->known[i];
        if (who && who->pem_size == pem.size && memcmp(who->pem, pem.data, pem.size) == 0) {
            return who->cert.not_after_s >= (int64_t)time(NULL) ? rpc_who_hold(who) : NULL;
        }
    }
    return NULL;
}

static struct rpc_who *known_or_believed(struct rpc_tls *tls, struct kith_bytes pem,
                                         struct kith_error *error)
{
    struct kith_identity *identity = kith_follow_take(tls->follow);
    pthread_mutex_lock(&tls->lock);
    struct rpc_who *who = find_known(tls, identity->edition, pem);
    pthread_mutex_unlock(&tls->lock);
    if (!who) {
        who = believe(identity, pem, error);
        pthread_mutex_lock(&tls->lock);
        if (who && tls->known_edition == identity->edition) {
            uint32_t at = tls->known_next++ % KNOWN_MAX;
            rpc_who_drop(tls->known[at]);
            tls->known[at] = rpc_who_hold(who);
        }
        pthread_mutex_unlock(&tls->lock);
    }
    kith_identity_drop(identity);
    return who;
}

struct rpc_who *rpc_tls_caller(struct kith_rpc *rpc, grpc_call *call, struct kith_error *error)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    struct rpc_who *who = NULL;
    const grpc_auth_property *property = NULL;
    if (context) {
        grpc_auth_property_iterator at =
            grpc_auth_context_find_properties_by_name(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
        property = grpc_auth_property_iterator_next(&at);
    }
    if (!property || property->value_length > PEM_MAX) {
        (void)kith_error_set(error, KITH_EPERM, "no certificate was shown");
    } else {
        who = known_or_believed(rpc->tls, kith_bytes_make(property->value, property->value_length),
                                error);
    }
    if (context) {
        grpc_auth_context_release(context);
    }
    return who;
}

/* ---- Credentials ---- */

static grpc_ssl_certificate_config_reload_status
fetch_config(void *arg, grpc_ssl_server_certificate_config **ret_config)
{
    struct fetch *fetch = arg;
    rpc_take_over(fetch);
    struct rpc_tls *tls = fetch->tls;
    struct kith_identity *identity = kith_follow_take(tls->follow);
    pthread_mutex_lock(&tls->lock);
    bool fresh = fetch->edition < identity->edition;
    fetch->edition = fresh ? identity->edition : fetch->edition;
    pthread_mutex_unlock(&tls->lock);
    if (fresh) { /* the texts are copied */
        grpc_ssl_pem_key_cert_pair pair = {identity->key_pem, identity->cert_pem};
        *ret_config = grpc_ssl_server_certificate_config_create(identity->ca_pem, &pair, 1);
    }
    kith_identity_drop(identity);
    return fresh ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                 : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

grpc_server_credentials *rpc_server_credentials(struct kith_rpc *rpc)
{
    struct rpc_tls *tls = rpc->tls;
    if (!tls) {
        return grpc_insecure_server_credentials_create();
    }
    KITH_ASSERT(tls->fetch_count < RPC_PORTS_MAX);
    struct fetch *fetch = &tls->fetches[tls->fetch_count++];
    fetch->tls = tls;
    rpc_hand_over(fetch);
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch_config, fetch));
}

/* What a channel finds its peer to be. */
struct rpc_verify {
    uint32_t refs; /* atomic: the channel's, and gRPC's */
    struct kith_identity *identity;
    pthread_mutex_t lock;
    struct rpc_who *who;          /* protected by lock */
    char reason[RPC_REASON_SIZE]; /* protected by lock; "" = not refused */
};

void rpc_verify_drop(struct rpc_verify *verify)
{
    if (!verify || __atomic_sub_fetch(&verify->refs, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    kith_identity_drop(verify->identity);
    rpc_who_drop(verify->who);
    pthread_mutex_destroy(&verify->lock);
    kith_free(verify);
}

static void verify_end(void *arg)
{
    rpc_take_over(arg);
    rpc_verify_drop(arg);
}

/* In the handshake, after OpenSSL is content. 0: go on. */
static int verify_node(const char *target, const char *pem, void *arg)
{
    struct rpc_verify *verify = arg;
    struct kith_error error = {KITH_OK, ""};
    (void)target;
    rpc_take_over(verify);
    size_t size = pem ? strnlen(pem, PEM_MAX) : 0;
    struct rpc_who *who = believe(verify->identity, kith_bytes_make(pem, size), &error);
    if (who && (who->cert.grant.role != KITH_CERT_NODE ||
                strcmp(who->cert.cluster, verify->identity->own.cluster) != 0)) {
        (void)kith_error_set(&error, KITH_EPERM,
                             "the certificate of '%s' is no node's of this cluster",
                             who->cert.grant.name);
        rpc_who_drop(who);
        who = NULL;
    }
    pthread_mutex_lock(&verify->lock);
    rpc_who_drop(verify->who);
    verify->who = who;
    (void)snprintf(verify->reason, sizeof verify->reason, "%.*s", (int)sizeof verify->reason - 1,
                   who ? "" : error.message);
    pthread_mutex_unlock(&verify->lock);
    return who ? 0 : -1;
}

bool rpc_verify_refused(struct rpc_verify *verify, char reason[RPC_REASON_SIZE])
{
    pthread_mutex_lock(&verify->lock);
    bool refused = verify->reason[0] != '\0';
    if (refused) {
        memcpy(reason, verify->reason, sizeof verify->reason);
    }
    pthread_mutex_unlock(&verify->lock);
    return refused;
}

enum kith_err rpc_tls_may_listen(struct kith_rpc *rpc, const char *address,
                                 struct kith_error *error)
{
    struct kith_identity *identity = kith_follow_take(rpc->tls->follow);
    const struct kith_cert_grant *grant = &identity->own.grant;
    enum kith_err err = KITH_OK;
    if (grant->role != KITH_CERT_NODE) {
        err = kith_error_set(
            error, KITH_EPERM,
            "cannot listen on %s with the certificate of %s '%s': a node's is wanted "
            "('kithctl cert node')",
            address, kith_cert_role_name(grant->role), grant->name);
    }
    kith_identity_drop(identity);
    return err;
}

uint64_t rpc_tls_edition(struct kith_rpc *rpc)
{
    struct kith_identity *identity = rpc->tls ? kith_follow_take(rpc->tls->follow) : NULL;
    uint64_t edition = identity ? identity->edition : 0;
    kith_identity_drop(identity);
    return edition;
}

grpc_channel_credentials *rpc_channel_credentials(struct kith_rpc *rpc, struct rpc_channel *channel)
{
    if (!rpc->tls) {
        return grpc_insecure_credentials_create();
    }
    struct rpc_verify *verify = kith_calloc(1, sizeof *verify);
    if (!verify) {
        return NULL;
    }
    verify->refs = 2;
    verify->identity = kith_follow_take(rpc->tls->follow);
    pthread_mutex_init(&verify->lock, NULL);
    channel->verify = verify;
    channel->edition = verify->identity->edition;
    grpc_ssl_pem_key_cert_pair pair = {verify->identity->key_pem, verify->identity->cert_pem};
    rpc_hand_over(verify);
    const grpc_ssl_verify_peer_options options = {verify_node, verify, verify_end};
    return grpc_ssl_credentials_create_ex(verify->identity->ca_pem, &pair, &options, NULL);
}

/* ---- Once a second ---- */

/* rpc->lock held; held for the caller. NULL: it has none, or is not up yet. */
static struct rpc_who *who_of(struct rpc_conn *conn)
{
    if (conn->who) {
        return rpc_who_hold(conn->who);
    }
    struct rpc_verify *verify = conn->channel ? conn->channel->verify : NULL;
    if (!verify) {
        return NULL;
    }
    pthread_mutex_lock(&verify->lock);
    struct rpc_who *who = verify->who ? rpc_who_hold(verify->who) : NULL;
    pthread_mutex_unlock(&verify->lock);
    return who;
}

bool rpc_who_suspect(const struct rpc_who *who, uint64_t checked, uint64_t edition)
{
    return (checked > who->edition ? checked : who->edition) < edition ||
           who->cert.not_after_s < (int64_t)time(NULL);
}

enum kith_err rpc_who_check(const struct rpc_who *who, const struct kith_identity *identity,
                            struct kith_error *error)
{
    struct kith_cert cert;
    return kith_trust_check(identity->trust, kith_bytes_make(who->pem, who->pem_size),
                            (int64_t)time(NULL), &cert, error);
}

/* The next connection above that id whose peer is to be looked at; both are held. It counts as
 * looked at from then on. */
static struct rpc_conn *next_suspect(struct kith_rpc *rpc, uint64_t above, uint64_t edition,
                                     struct rpc_who **ret_who)
{
    struct rpc_conn *best = NULL;
    struct rpc_who *best_who = NULL;
    pthread_mutex_lock(&rpc->lock);
    for (size_t i = 0; i < RPC_BUCKETS; i++) {
        for (struct rpc_conn *conn = rpc->buckets[i]; conn; conn = conn->next) {
            struct rpc_who *who = NULL;
            if (conn->id > above && (!best || conn->id < best->id)) {
                who = who_of(conn);
            }
            if (who && rpc_who_suspect(who, conn->checked, edition)) {
                rpc_who_drop(best_who);
                best = conn;
                best_who = who;
            } else {
                rpc_who_drop(who);
            }
        }
    }
    if (best) {
        best->checked = edition;
        rpc_conn_hold(best);
    }
    pthread_mutex_unlock(&rpc->lock);
    *ret_who = best_who;
    return best;
}

enum kith_err kith_rpc_offer_list(struct kith_rpc *rpc, struct kith_bytes pem, kith_rpc_offered done,
                                  void *arg, uint64_t conn, uint64_t id, struct kith_error *error)
{
    struct rpc_tls *tls = rpc->tls;
    if (!tls) {
        return kith_error_set(error, KITH_EINVAL, "there are no certificates here");
    }
    struct offer *offer = kith_malloc(sizeof *offer + pem.size);
    if (!offer) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    *offer = (struct offer){.done = done, .arg = arg, .conn = conn, .id = id, .size = pem.size};
    if (pem.size > 0) {
        memcpy(offer->pem, pem.data, pem.size);
    }
    pthread_mutex_lock(&tls->lock);
    bool waits = tls->offer != NULL;
    tls->offer = waits ? tls->offer : offer;
    pthread_mutex_unlock(&tls->lock);
    if (waits) {
        kith_free(offer);
        return kith_error_set(error, KITH_EBUSY, "another list is being taken just now");
    }
    return KITH_OK;
}

static void take_offer(struct rpc_tls *tls)
{
    struct kith_error error;
    pthread_mutex_lock(&tls->lock);
    struct offer *offer = tls->offer;
    pthread_mutex_unlock(&tls->lock);
    if (!offer) {
        return;
    }
    enum kith_err err =
        kith_follow_list(tls->follow, kith_bytes_make(offer->pem, offer->size), &error);
    pthread_mutex_lock(&tls->lock);
    tls->offer = NULL;
    pthread_mutex_unlock(&tls->lock);
    offer->done(offer->arg, offer->conn, offer->id, err == KITH_OK ? NULL : &error);
    kith_free(offer);
}

void rpc_tls_look(struct kith_rpc *rpc)
{
    struct rpc_tls *tls = rpc->tls;
    take_offer(tls);
    kith_follow_look(tls->follow);
    struct kith_identity *identity = kith_follow_take(tls->follow);
    uint64_t above = 0;
    struct rpc_who *who;
    for (;;) {
        struct rpc_conn *conn = next_suspect(rpc, above, identity->edition, &who);
        struct kith_error error;
        if (!conn) {
            break;
        }
        above = conn->id;
        if (rpc_who_check(who, identity, &error) != KITH_OK) {
            rpc_tls_log("the connection with %s is ended: %s", conn->peer, error.message);
            rpc_conn_cancel(conn, GRPC_STATUS_UNAUTHENTICATED, error.message);
        }
        rpc_who_drop(who);
        rpc_conn_drop(conn);
    }
    rpc_call_look(rpc, identity);
    kith_identity_drop(identity);
}

/* ---- Making it ---- */

enum kith_err rpc_tls_new(const struct kith_identity_files *files, struct rpc_tls **ret_tls,
                          struct kith_error *error)
{
    struct rpc_tls *tls = kith_calloc(1, sizeof *tls);
    if (!tls) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for the network");
    }
    enum kith_err err = kith_follow_new(files, &tls->follow, error);
    if (err != KITH_OK) {
        kith_free(tls);
        return err;
    }
    pthread_mutex_init(&tls->lock, NULL);
    *ret_tls = tls;
    return KITH_OK;
}

void rpc_tls_free(struct rpc_tls *tls)
{
    if (!tls) {
        return;
    }
    forget(tls);
    kith_free(tls->offer);
    kith_follow_free(tls->follow);
    pthread_mutex_destroy(&tls->lock);
    kith_free(tls);
}
