# SPDX-License-Identifier: Apache-2.0
# Part of _core.pyx: counters as dictionaries.

cdef dict _stats_of(vcl_driver *d):
    cdef vcl_stats engine
    cdef vcl_io_stats io
    cdef int i
    vcl_driver_stats(d, &engine, &io)
    found = {"sessions": engine.nb_sessions, "connections": engine.nb_conns}
    for i in range(VCL_ENGINE_COUNTERS):
        found[vcl_engine_counters[i].name.decode()] = vcl_counter_value(&engine, vcl_engine_counters[i].offset)
    found["drops"] = {vcl_drop_names[i].decode(): engine.drops[i] for i in range(1, VCL_DROP_COUNT)}
    found["io"] = {
        vcl_io_counters[i].name.decode(): vcl_counter_value(&io, vcl_io_counters[i].offset)
        for i in range(VCL_IO_COUNTER_COUNT)
    }
    return found
