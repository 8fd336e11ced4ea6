#!/bin/bash
# census.sh WORK DYNUSER: which unit files with DynamicUser=yes of Debian's packages `DYNUSER check` finds supported in
# full. WORK keeps the packages' units (units/SUITE/…) and the answers; what is there already is not fetched again.
# Run by hand: it needs Debian's mirror, and downloads a few hundred MB. apt's own configuration is neither read nor changed.
set -euo pipefail

# Packages of main that ship such a unit. Debian has no index of what is written in units: the list is kept by hand.
packages=(
    asncounter atftpd cockpit-ws davmail-server dnscrypt-proxy dnss ergo errbot festival fwupd garagemq gobgpd hddemux
    ipp-usb keepalived libvirt-dbus luanti-server minetest-server molly-brown monopd msmtp-mta ntpd-rs
    openvpn-auth-oauth2 perfetto prometheus-frr-exporter ratt ser2net shadowsocks-libev smartdns snowflake-proxy soju
    spectrum2 stayrtr stubby syncplay-server systemd systemd-container systemd-journal-remote uwsgi-core v2ray webhook
    wsdd-server xfsprogs yggdrasil
)
suites=(bookworm trixie sid)

work=$(realpath "${1:?the folder to work in}")
program=$(realpath "${2:?the path of the dynuser program}")

# Its own apt: nothing of /etc/apt or /var/lib/apt is read or changed.
configure() {
    local suite=$1 root=$2
    mkdir -p "$root"/state/lists/partial "$root"/cache/archives/partial "$root"/etc/{none,apt.conf.d,preferences.d}
    : >"$root/state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
        >"$root/etc/sources.list"
    # A mirror may be a snapshot: its signature is checked, its age is not.
    cat >"$root/apt.conf" <<CONFIGURATION
Dir::Etc "$root/etc/";
Dir::Etc::Main "none/main";
Dir::Etc::Parts "none";
Dir::State "$root/state/";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache/";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONFIGURATION
}

# The units of one package, drop-ins and all, as they lie in it.
extract() {
    local deb=$1 into=$2 found
    rm -rf "$into.new"
    mkdir -p "$into.new"
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$into.new" --wildcards \
        './lib/systemd/system/*' './usr/lib/systemd/system/*' 2>/dev/null || true
    for found in "$into.new"/lib/systemd/system "$into.new"/usr/lib/systemd/system; do
        [ -d "$found" ] && mkdir -p "$into" && cp -a "$found/." "$into/"
    done
    rm -rf "$into.new" "$deb"
}

for suite in "${suites[@]}"; do
    [ ! -e "$work/units/$suite.done" ] || continue
    echo "== $suite" >&2
    mkdir -p "$work/units/$suite" "$work/deb"
    configure "$suite" "$work/apt/$suite"
    export APT_CONFIG=$work/apt/$suite/apt.conf
    apt-get -q update >&2
    for package in "${packages[@]}"; do
        # A look into the list that is here, not at the mirror.
        apt-cache show "$package" >/dev/null 2>&1 || continue
        (cd "$work/deb" && apt-get -q download "$package" >&2) || { echo "$suite: $package failed" >&2; continue; }
        extract "$(echo "$work/deb/${package}"_*.deb)" "$work/units/$suite/$package"
    done
    : >"$work/units/$suite.done"
done

# Each distinct file once: the newest suite's, if it is the same in several.
declare -A seen=()
full=0 partly=0 unread=0
for suite in sid trixie bookworm; do
    while IFS= read -r unit; do
        grep -qiE '^[[:space:]]*DynamicUser[[:space:]]*=[[:space:]]*(yes|y|true|t|on|1)[[:space:]]*$' "$unit" || continue
        sum=$(sha256sum <"$unit")
        [ -z "${seen[$sum]:-}" ] || continue
        seen[$sum]=1
        status=0
        answer=$("$program" check --json "$unit" 2>&1) || status=$?
        name=$suite/${unit#"$work/units/$suite/"}
        case $status in
        0) full=$((full + 1)) missing='enforced in full' ;;
        1) partly=$((partly + 1))
            missing="missing: $(grep -o '"missing": *\[[^]]*\]' <<<"$answer" | tr -d '\n' | sed 's/"missing": *//' || true)" ;;
        *) unread=$((unread + 1)) missing="status $status: $answer" ;;
        esac
        printf '%-70s %s\n' "$name" "$missing"
    done < <(find "$work/units/$suite" -type f -name '*.service' | sort)
done
echo "$((full + partly + unread)) files: $full enforced in full, $partly in part, $unread could not be read"
