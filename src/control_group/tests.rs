//! What settings become.

use super::*;
use crate::device_filter::{Devices, NodeKind};

const GIB: u64 = 1 << 30;

fn facts() -> Facts {
    Facts {
        memory: 8 * GIB,
        swap: 2 * GIB,
        tasks: 32_768,
        disks: vec![("/dev/vda".into(), (254, 0)), ("/var/lib".into(), (254, 1))],
        devices: Devices {
            nodes: vec![("/dev/kvm".into(), (NodeKind::Character, 10, 232))],
            groups: "Character devices:\n136 pts\n".into(),
        },
    }
}

/// What is written: `FILE VALUE (DIRECTIVE)`.
fn written(group: &ControlGroup) -> Vec<String> {
    let plan = group.plan(&facts()).expect("a plan");
    let shown = |write: &Write| format!("{} {} ({})", write.file, write.value, write.directive);
    plan.writes.iter().map(shown).collect()
}

#[test]
fn amounts_go_into_their_files() {
    let mut group = ControlGroup::default();
    for (directive, value) in [
        ("TasksMax", "33%"),
        ("MemoryMax", "2G"),
        ("MemoryHigh", "50%"),
        ("MemoryLow", "0"),
        ("MemorySwapMax", "25%"),
        ("MemoryZSwapMax", "infinity"),
    ] {
        group.set_amount(directive, value).expect(value);
    }
    assert_eq!(
        written(&group),
        [
            "pids.max 10813 (TasksMax)",
            "memory.low 0 (MemoryLow)",
            "memory.high 4294967296 (MemoryHigh)",
            "memory.max 2147483648 (MemoryMax)",
            "memory.swap.max 536870912 (MemorySwapMax)",
            "memory.zswap.max max (MemoryZSwapMax)",
        ]
    );
    group.set_amount("TasksMax", "7").expect("a number");
    group.set_amount("MemoryMax", "").expect("a reset");
    assert_eq!(
        written(&group).first().expect("one"),
        "pids.max 7 (TasksMax)"
    );
    let plan = group.plan(&facts()).expect("a plan");
    assert!(!plan.directives().contains(&"MemoryMax"));
    assert!(plan.controllers.iter().any(|one| one.name == "memory"));
    assert!(group.set_amount("MemoryZSwapMax", "5%").is_err());
}

#[test]
fn a_quota_and_its_period_are_what_the_kernel_takes() {
    for (quota, period, max) in [
        ("20%", "", "20000 100000"),
        ("250%", "", "250000 100000"),
        ("20%", "10ms", "2000 10000"),
        // Quota and period are at least a millisecond, the period at most a second.
        ("0.5%", "", "1000 200000"),
        ("50%", "1us", "1000 2000"),
        ("100%", "1min", "1000000 1000000"),
        ("0.01%", "", "1000 1000000"),
    ] {
        let mut group = ControlGroup::default();
        group.set_cpu_quota(quota).expect(quota);
        group.set_cpu_period(period).expect("a period");
        assert_eq!(
            written(&group),
            [format!("cpu.max {max} (CPUQuota)")],
            "{quota} {period}"
        );
    }
    let mut group = ControlGroup::default();
    for bad in ["0%", "20", "x%", "-5%"] {
        assert!(group.set_cpu_quota(bad).is_err(), "{bad}");
    }
    group.set_cpu_period("5ms").expect("a period");
    assert!(written(&group).is_empty());
    group.set_cpu_weight("idle").expect("a weight");
    assert_eq!(written(&group), ["cpu.idle 1 (CPUWeight)"]);
    group.set_cpu_weight("77").expect("a weight");
    assert_eq!(written(&group), ["cpu.weight 77 (CPUWeight)"]);
}

#[test]
fn lists_of_processors_and_disks_add_up() {
    let mut group = ControlGroup::default();
    group.add_set("AllowedCPUs", "0-1").expect("a list");
    group.add_set("AllowedCPUs", "3, 5").expect("a list");
    group.set_io_weight("50").expect("a weight");
    for (directive, value) in [
        ("IODeviceWeight", "/dev/vda 200"),
        ("IOReadBandwidthMax", "/var/lib 5M"),
        ("IOReadBandwidthMax", "/dev/vda 1K"),
        ("IOReadBandwidthMax", "/dev/vda 2K"),
        ("IOWriteIOPSMax", "/dev/vda infinity"),
        ("IODeviceLatencyTargetSec", "/dev/vda 25ms"),
    ] {
        group.add_disk(directive, value).expect(value);
    }
    assert_eq!(
        written(&group),
        [
            "cpuset.cpus 0-1,3,5 (AllowedCPUs)",
            "io.weight default 50 (IOWeight)",
            "io.weight 254:0 200 (IODeviceWeight)",
            "io.max 254:1 rbps=5000000 (IOReadBandwidthMax)",
            "io.max 254:0 rbps=2000 (IOReadBandwidthMax)",
            "io.max 254:0 wiops=max (IOWriteIOPSMax)",
            "io.latency 254:0 target=25000 (IODeviceLatencyTargetSec)",
        ]
    );
    group.add_set("AllowedCPUs", "").expect("a reset");
    group.add_disk("IOReadBandwidthMax", "").expect("a reset");
    assert_eq!(written(&group).len(), 4);
    group
        .add_disk("IOReadIOPSMax", "/elsewhere 1")
        .expect("a path");
    let (directive, why) = group.plan(&facts()).expect_err("no disk");
    assert_eq!(directive, "IOReadIOPSMax");
    assert!(why.contains("/elsewhere"), "{why}");
    for bad in ["vda 5M", "/dev/vda", "/dev/vda 0", "/dev/vda 1 2"] {
        assert!(group.add_disk("IOReadBandwidthMax", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_slice_names_all_groups_above() {
    let mut group = ControlGroup::default();
    for (value, groups) in [
        ("system.slice", vec!["system.slice"]),
        ("a-b-c.slice", vec!["a.slice", "a-b.slice", "a-b-c.slice"]),
        ("user-61200.slice", vec!["user.slice", "user-61200.slice"]),
        ("-.slice", vec![]),
        ("", vec![]),
    ] {
        group.set_slice(value).expect(value);
        assert_eq!(group.plan(&facts()).expect("a plan").slices, groups);
    }
    for bad in [
        "a",
        "a--b.slice",
        "-a.slice",
        "a-.slice",
        ".slice",
        "a/b.slice",
        "../x.slice",
        "a b.slice",
    ] {
        assert!(group.set_slice(bad).is_err(), "{bad}");
    }
}

#[test]
fn delegation_names_its_controllers() {
    let names = |group: &ControlGroup| -> Vec<(&str, bool)> {
        let plan = group.plan(&facts()).expect("a plan");
        assert!(plan.delegated);
        let controllers = plan.controllers.iter();
        controllers.map(|one| (one.name, one.optional)).collect()
    };
    let mut group = ControlGroup::default();
    group.set_subgroup("main").expect("a name");
    assert!(group.plan(&facts()).expect("a plan").subgroup.is_none());
    group.set_delegation("pids memory", None).expect("a list");
    group
        .set_delegation("blkio bpf-firewall", None)
        .expect("a list");
    assert_eq!(
        names(&group),
        [("pids", false), ("memory", false), ("io", false)]
    );
    assert_eq!(
        group.plan(&facts()).expect("a plan").directives(),
        ["Delegate"]
    );
    group.set_delegation("", None).expect("a reset");
    assert!(names(&group).is_empty());
    group.set_delegation("yes", Some(true)).expect("all");
    assert!(names(&group).contains(&("memory", true)));
    assert!(group.set_delegation("network", None).is_err());
    for bad in ["a/b", "cgroup.procs", "memory.max", ".", "..", ".x", "a\nb"] {
        assert!(group.set_subgroup(bad).is_err(), "{bad}");
    }
    let plan = group.plan(&facts()).expect("a plan").without("Delegate");
    assert!(!plan.delegated && plan.subgroup.is_none() && plan.controllers.is_empty());
    group.set_delegation("no", Some(false)).expect("none");
    assert!(!group.plan(&facts()).expect("a plan").delegated);
}

#[test]
fn programs_are_made_for_who_wants_them() {
    let hooks = |group: &ControlGroup| -> Vec<(Hook, &str, bool)> {
        let plan = group.plan(&facts()).expect("a plan");
        let programs = plan.programs.iter();
        programs
            .map(|one| (one.hook, one.directive, one.optional))
            .collect()
    };
    let mut group = ControlGroup::default();
    group.add_allowed_addresses("localhost").expect("a list");
    assert!(hooks(&group).is_empty(), "nothing is denied");
    group.close_devices();
    assert_eq!(hooks(&group), [(Hook::Device, "PrivateDevices", true)]);
    assert!(
        group
            .plan(&facts())
            .expect("a plan")
            .directives()
            .is_empty()
    );
    group.add_denied_addresses("any").expect("a list");
    group.add_device("/dev/kvm rw").expect("a device");
    assert_eq!(
        hooks(&group),
        [
            (Hook::Device, "DeviceAllow", false),
            (Hook::PacketIn, "IPAddressDeny", false),
            (Hook::PacketOut, "IPAddressDeny", false)
        ]
    );
    group.add_device("").expect("a reset");
    group.set_device_policy("strict").expect("a policy");
    group.add_denied_addresses("").expect("a reset");
    assert_eq!(hooks(&group), [(Hook::Device, "DevicePolicy", false)]);
    assert!(group.set_device_policy("open").is_err());
}

#[test]
fn what_is_told_of_memory_pressure_and_done_when_memory_runs_out() {
    let mut group = ControlGroup::default();
    for (value, boolean, told) in [
        ("yes", Some(true), Some(Pressure::Watched(200_000))),
        ("no", Some(false), Some(Pressure::Ignored)),
        ("skip", None, None),
        ("auto", None, None),
    ] {
        group.set_pressure(value, boolean).expect(value);
        assert_eq!(group.plan(&facts()).expect("a plan").pressure, told);
    }
    assert!(group.set_pressure("maybe", None).is_err());
    group.set_oom_policy("continue").expect("a policy");
    assert!(written(&group).is_empty());
    group.set_oom_policy("kill").expect("a policy");
    assert_eq!(written(&group), ["memory.oom.group 1 (OOMPolicy)"]);
    assert!(group.set_oom_policy("stop").is_err());
}
