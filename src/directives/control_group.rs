//! Resources, devices and addresses: what the kernel keeps to for a control group.

use super::boolean;
use super::row::{Directive, elsewhere, function, missing, restriction, unenforced};

const BOOT: &str = "only while a host starts or stops that systemd leads";
const OOMD: &str = "instructs systemd-oomd, which belongs to systemd";
const NOT_BUILT: &str = "it takes a further BPF program in the control group";
const CHILDREN: &str =
    "only for the kernel's children before 5.7; it changes nothing for the service itself";
const V1: &str = "the control groups of version 1";

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "TasksMax",
        "cgroup: pids.max; fork(2) fails with EAGAIN",
        |s, v| s.control_group.set_amount("TasksMax", v),
    ),
    function("MemoryMin", "cgroup: memory.min", |s, v| {
        s.control_group.set_amount("MemoryMin", v)
    }),
    function("MemoryLow", "cgroup: memory.low", |s, v| {
        s.control_group.set_amount("MemoryLow", v)
    }),
    restriction("MemoryHigh", "cgroup: memory.high", |s, v| {
        s.control_group.set_amount("MemoryHigh", v)
    }),
    restriction("MemoryMax", "cgroup: memory.max", |s, v| {
        s.control_group.set_amount("MemoryMax", v)
    }),
    restriction("MemorySwapMax", "cgroup: memory.swap.max", |s, v| {
        s.control_group.set_amount("MemorySwapMax", v)
    }),
    restriction("MemoryZSwapMax", "cgroup: memory.zswap.max", |s, v| {
        s.control_group.set_amount("MemoryZSwapMax", v)
    })
    .since("5.19"),
    restriction("CPUWeight", "cgroup: cpu.weight or cpu.idle", |s, v| {
        s.control_group.set_cpu_weight(v)
    }),
    restriction("CPUQuota", "cgroup: cpu.max", |s, v| {
        s.control_group.set_cpu_quota(v)
    }),
    restriction(
        "CPUQuotaPeriodSec",
        "cgroup: cpu.max, with CPUQuota=",
        |s, v| s.control_group.set_cpu_period(v),
    ),
    restriction("AllowedCPUs", "cgroup: cpuset.cpus", |s, v| {
        s.control_group.add_set("AllowedCPUs", v)
    }),
    restriction("AllowedMemoryNodes", "cgroup: cpuset.mems", |s, v| {
        s.control_group.add_set("AllowedMemoryNodes", v)
    }),
    restriction("IOWeight", "cgroup: io.weight", |s, v| {
        s.control_group.set_io_weight(v)
    }),
    restriction("IODeviceWeight", "cgroup: io.weight", |s, v| {
        s.control_group.add_disk("IODeviceWeight", v)
    }),
    restriction("IOReadBandwidthMax", "cgroup: io.max", |s, v| {
        s.control_group.add_disk("IOReadBandwidthMax", v)
    }),
    restriction("IOWriteBandwidthMax", "cgroup: io.max", |s, v| {
        s.control_group.add_disk("IOWriteBandwidthMax", v)
    }),
    restriction("IOReadIOPSMax", "cgroup: io.max", |s, v| {
        s.control_group.add_disk("IOReadIOPSMax", v)
    }),
    restriction("IOWriteIOPSMax", "cgroup: io.max", |s, v| {
        s.control_group.add_disk("IOWriteIOPSMax", v)
    }),
    function("IODeviceLatencyTargetSec", "cgroup: io.latency", |s, v| {
        s.control_group.add_disk("IODeviceLatencyTargetSec", v)
    }),
    restriction(
        "DevicePolicy",
        "BPF in the cgroup: open(2) and mknod(2) of other devices fail with EPERM",
        |s, v| s.control_group.set_device_policy(v),
    ),
    restriction(
        "DeviceAllow",
        "BPF in the cgroup: open(2) and mknod(2) of other devices fail with EPERM",
        |s, v| s.control_group.add_device(v),
    ),
    restriction(
        "IPAddressAllow",
        "BPF in the cgroup: exceptions from IPAddressDeny=",
        |s, v| s.control_group.add_allowed_addresses(v),
    ),
    restriction(
        "IPAddressDeny",
        "BPF in the cgroup: packets are dropped, and sending them fails with EPERM",
        |s, v| s.control_group.add_denied_addresses(v),
    ),
    function(
        "Slice",
        "the group above the service's, where it gets one",
        |s, v| s.control_group.set_slice(v),
    ),
    function(
        "Delegate",
        "cgroup: a group that belongs to the user",
        |s, v| s.control_group.set_delegation(v, boolean(v).ok()),
    ),
    function(
        "DelegateSubgroup",
        "cgroup: a group in the delegated one",
        |s, v| s.control_group.set_subgroup(v),
    ),
    function(
        "OOMPolicy",
        "kill: cgroup: memory.oom.group; continue: nothing to do",
        |s, v| s.control_group.set_oom_policy(v),
    ),
    function(
        "MemoryPressureWatch",
        "MEMORY_PRESSURE_WATCH in the environment",
        |s, v| s.control_group.set_pressure(v, boolean(v).ok()),
    ),
    function(
        "MemoryPressureThresholdSec",
        "MEMORY_PRESSURE_WRITE in the environment",
        |s, v| s.control_group.set_threshold(v),
    ),
    elsewhere("StartupCPUWeight", BOOT),
    elsewhere("StartupAllowedCPUs", BOOT),
    elsewhere("StartupAllowedMemoryNodes", BOOT),
    elsewhere("StartupMemoryLow", BOOT),
    elsewhere("StartupMemoryHigh", BOOT),
    elsewhere("StartupMemoryMax", BOOT),
    elsewhere("StartupMemorySwapMax", BOOT),
    elsewhere("StartupMemoryZSwapMax", BOOT),
    elsewhere("StartupIOWeight", BOOT),
    elsewhere("DefaultMemoryMin", CHILDREN),
    elsewhere("DefaultMemoryLow", CHILDREN),
    elsewhere("DefaultStartupMemoryLow", CHILDREN),
    elsewhere("ManagedOOMSwap", OOMD),
    elsewhere("ManagedOOMMemoryPressure", OOMD),
    elsewhere("ManagedOOMMemoryPressureLimit", OOMD),
    elsewhere("ManagedOOMMemoryPressureDurationSec", OOMD),
    elsewhere("ManagedOOMPreference", OOMD),
    missing(
        "MemoryZSwapWriteback",
        "memory.zswap.writeback is not written",
    ),
    missing("NFTSet", "sets of nftables"),
    missing(
        "DisableControllers",
        "controllers are enabled only for who wants them",
    ),
    missing("BPFProgram", "programs from elsewhere"),
    unenforced("IPIngressFilterPath", "programs from elsewhere"),
    unenforced("IPEgressFilterPath", "programs from elsewhere"),
    unenforced("SocketBindAllow", NOT_BUILT),
    unenforced("SocketBindDeny", NOT_BUILT),
    unenforced("RestrictNetworkInterfaces", NOT_BUILT),
    unenforced("CPUShares", V1),
    unenforced("StartupCPUShares", V1),
    unenforced("BlockIOWeight", V1),
    unenforced("StartupBlockIOWeight", V1),
    unenforced("BlockIODeviceWeight", V1),
    unenforced("BlockIOReadBandwidth", V1),
    unenforced("BlockIOWriteBandwidth", V1),
];
