"""Giving a tree to another owner: ours beside `chown -R` and a walk, with a warm cache, on ext4.

The image lies in memory, so no disk is measured. measure.py calls `table`; alone, as root:
    unshare -m python3 -B benches/give.py PROGRAM FILES ROUNDS
where PROGRAM is benches/give.rs, built by `cargo build --release --bench give`.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

IN_ONE = 100


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def build(top, files):
    """Directories of 100 entries, in directories of 100; of 50 entries one is a link."""
    for number in range(0, files, IN_ONE):
        directory = f"{top}/{number // IN_ONE // 100}/{number // IN_ONE % 100}"
        os.makedirs(directory)
        for name in range(IN_ONE):
            if name % 50:
                os.close(os.open(f"{directory}/file{name}", os.O_CREAT | os.O_WRONLY, 0o644))
            else:
                os.symlink("file1", f"{directory}/link{name}")


def timed(words):
    """Seconds on the clock and of the processors, and what it printed."""
    # What the round before has left to be written is not written now.
    os.sync()
    before, begun = os.times(), time.perf_counter()
    said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, after = time.perf_counter() - begun, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, spent, said


def peak(words):
    """The most memory that it had, in MB."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as file:
                found = re.search(r"^VmHWM:\s*(\d+) kB$", file.read(), re.M)
                # Not that of the child before it became the program.
                if os.readlink(f"/proc/{process.pid}/exe") != os.path.realpath(sys.executable) and found:
                    most = max(most, int(found[1]))
        except OSError:
            pass
        time.sleep(0.005)
    if process.returncode:
        sys.exit(f"{words[0]} failed")
    return most / 1000


def table(program, files, rounds):
    """The title, the columns and the rows."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        image, top = f"{place}/image", f"{place}/mounted"
        os.mkdir(top)
        with open(image, "w") as file:
            file.truncate(files * 6144 + (256 << 20))
        run("mkfs.ext4", "-q", "-N", str(files * 5 // 4 + 10000), image)
        run("mount", "-o", "loop", image, top)
        try:
            return measured(program, f"{top}/tree", files, rounds)
        finally:
            run("umount", top)


def measured(program, top, files, rounds):
    build(top, files)
    owner = 61200
    run("chown", "-R", f"{owner}:{owner}", top)

    def chown(owner):
        return ["chown", "-R", f"{owner + 1}:{owner + 1}", top]

    def give(owner):
        return [program, top, str(owner), str(owner + 1)]

    all_of = {"`chown -R`": chown, "ours": give, "a walk (`find`)": lambda _: ["find", top, "-printf", ""],
              "ours, counting only": lambda _: [program, top]}
    times, memory = {label: [] for label in all_of}, {}
    for number in range(rounds + 1):
        for label, words in all_of.items():
            if number == rounds:
                memory[label] = peak(words(owner))
            else:
                seconds, spent, said = timed(words(owner))
                times[label].append((seconds, spent))
                if words is give and int(said.split()[0]) < files:
                    sys.exit(f"not all was given: {said}")
            owner += words in (chown, give)
    base = [seconds for seconds, _ in times["`chown -R`"]]
    rows = []
    for label, measures in times.items():
        clock, spent = zip(*measures)
        median = statistics.median(clock)
        rows.append([label, f"{min(clock):.3f}", f"{median:.3f}", f"{statistics.median(spent):.3f}",
                     f"{median / statistics.median(base):.2f} ({min(clock) / min(base):.2f})",
                     f"{memory[label]:.1f}"])
    return (f"Giving {files:,} files to another owner, ext4 in memory, warm cache: s, {rounds} runs of each in turns",
            ["", "min", "median", "processors' time, median", "× `chown -R`: median (min)", "peak MB"], rows)


if __name__ == "__main__":
    run("mount", "--make-rprivate", "/")
    title, columns, rows = table(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(title)
    for row in [columns, *rows]:
        print(" | ".join(row))
