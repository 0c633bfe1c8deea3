# SPDX-License-Identifier: Apache-2.0
# The C declarations behind _core.pyx: include/vcl/io.h and the parts of engine.h and wire.h that it shows.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "sys/uio.h" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len


cdef extern from "postman/wire.h" nogil:
    enum:
        PMW_TOKEN_BYTES
        PMW_KEY_BYTES
    cdef struct pmw_addr:
        uint8_t ip[16]
        uint16_t port
        uint8_t family


cdef extern from "vcl/engine.h" nogil:
    const uint64_t VCL_NEVER
    enum:
        VCL_PATHS_MAX
        VCL_KEYS_MAX
        VCL_PREDECESSORS_MAX
        VCL_EV_TOKEN_WANTED
        VCL_EV_PATH_SUSPECT
        VCL_EV_PATH_MOVED
        VCL_EV_PATHS_WANTED
        VCL_DROP_COUNT
    enum vcl_hint:
        VCL_HINT_DOWN
        VCL_HINT_DRAIN
        VCL_HINT_UP
    cdef struct vcl_session:
        pass
    cdef struct vcl_server_key:
        uint16_t key_id
        uint8_t key[32]
    cdef struct vcl_predecessor:
        uint16_t server_id
        uint8_t reset_key[16]
    cdef struct vcl_config:
        uint32_t sessions_max, conns_max, backlog_max, sndbuf_bytes, rcvbuf_bytes
        uint32_t sndbuf_bytes_max, rcvbuf_bytes_max
        uint64_t hold_us, idle_us, open_timeout_us
        uint16_t server_id
        uint8_t shard
        uint64_t service_id
        uint32_t incarnation
        uint8_t cid_key[16]
        uint8_t trunk_secret[32]
        uint8_t nb_keys
        vcl_server_key keys[4]
        uint8_t nb_predecessors
        vcl_predecessor predecessors[8]
    cdef struct vcl_path:
        pmw_addr addr
        uint16_t helper_id
        uint8_t rank
    cdef struct vcl_peer:
        uint16_t server_id
        uint8_t shard
        uint8_t token[64]
        uint8_t token_key[32]
        uint8_t nb_paths
        vcl_path paths[8]
    cdef struct vcl_session_info:
        uint64_t id
        uint32_t epoch, nb_conns, moves
        uint16_t server_id, active_helper_id
        uint8_t state
        uint64_t srtt_us
    cdef struct vcl_conn_info:
        uint64_t cid
        pmw_addr peer
        uint16_t local_port, helper_id
        bint encrypted
        uint64_t sent_bytes, received_bytes, resent_bytes, srtt_us


cdef extern from "vcl/io.h" nogil:
    cdef struct vcl_driver:
        pass
    cdef struct vcl_sock:
        pass
    enum:
        VCL_SOCK_PEEK
        VCL_SOCK_WAIT_ALL
    cdef struct vcl_driver_config:
        vcl_config engine
        int udp_fd
        uint32_t hold_us_max
        bint gso, gro
    cdef struct vcl_notice:
        uint64_t seq
        int type
        uint64_t session_id
        uint16_t server_id, from_helper_id, helper_id
        uint32_t epoch, nb_conns
        uint64_t at_us, silent_since_us

    uint64_t vcl_clock_us()
    void vcl_driver_config_defaults(vcl_driver_config *c)
    int vcl_udp_open(const pmw_addr *bind_to)
    int vcl_udp_local_addr(int fd, pmw_addr *out)
    int vcl_driver_open(vcl_driver **out, const vcl_driver_config *config)
    void vcl_driver_close(vcl_driver *d, uint64_t linger_us)
    int vcl_driver_join(vcl_driver *d, uint64_t deadline_us)
    void vcl_driver_free(vcl_driver *d)
    void vcl_driver_stop_listening(vcl_driver *d)
    int vcl_driver_set_keys(vcl_driver *d, const vcl_server_key *keys, uint8_t nb_keys)
    int vcl_driver_accept_fd(vcl_driver *d)
    uint32_t vcl_driver_socks(vcl_driver *d)
    bint vcl_driver_is_ours(const vcl_driver *d)
    int vcl_session_attach(vcl_driver *d, const vcl_peer *peer, vcl_session **out)
    int vcl_session_detach(vcl_driver *d, vcl_session *s)
    int vcl_session_renew(vcl_driver *d, vcl_session *s, const uint8_t *token, const uint8_t *token_key)
    int vcl_session_repath(vcl_driver *d, vcl_session *s, const vcl_path *paths, uint8_t nb_paths)
    int vcl_session_advise(vcl_driver *d, vcl_session *s, uint16_t helper_id, vcl_hint hint)
    int vcl_session_query(vcl_driver *d, vcl_session *s, vcl_session_info *out)
    int vcl_notices_read(vcl_driver *d, uint64_t after, vcl_notice *out, int max)
    int vcl_notices_wait(vcl_driver *d, uint64_t after, uint64_t deadline_us)
    int vcl_sock_connect_as(vcl_driver *d, vcl_session *s, bint encrypt, vcl_sock **out)
    int vcl_sock_connected(vcl_sock *s, uint64_t deadline_us)
    int vcl_sock_accept(vcl_driver *d, vcl_sock **out, uint64_t deadline_us)
    int64_t vcl_sock_send(vcl_sock *s, const iovec *iov, int nb_iov, unsigned flags, uint64_t deadline_us)
    int64_t vcl_sock_recv(vcl_sock *s, void *buf, size_t len, unsigned flags, uint64_t deadline_us)
    int vcl_sock_shutdown(vcl_sock *s, int how)
    int vcl_sock_linger(vcl_sock *s, uint64_t deadline_us)
    void vcl_sock_close(vcl_sock *s, bint abort)
    void vcl_sock_free(vcl_sock *s)
    int vcl_sock_fd(vcl_sock *s)
    int vcl_sock_keepalive(vcl_sock *s, uint32_t keepalive_ms)
    int vcl_sock_take_error(vcl_sock *s)
    int vcl_sock_info(vcl_sock *s, vcl_conn_info *out)
    size_t vcl_sock_readable(vcl_sock *s)


cdef extern from "_core_stats.h" nogil:
    enum:
        VCL_ENGINE_COUNTERS
        VCL_IO_COUNTER_COUNT
    cdef struct vcl_counter_name:
        const char *name
        size_t offset
    cdef struct vcl_stats:
        uint32_t nb_sessions, nb_conns
        uint64_t *drops
    cdef struct vcl_io_stats:
        uint64_t lag_us_max
    const vcl_counter_name *vcl_engine_counters
    const vcl_counter_name *vcl_io_counters
    const char **vcl_drop_names
    uint64_t vcl_counter_value(const void *counters, size_t offset)
    void vcl_driver_stats(vcl_driver *d, vcl_stats *engine, vcl_io_stats *io)
