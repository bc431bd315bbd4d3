# SPDX-License-Identifier: GPL-2.0
"""The lines of the list, and the counters, that the documents promise."""

import seeds
import world as w


def test_replay(tracker):
    with w.World(tracker) as world:
        seeds.set_firewall(world)
        problems = [f"{step.title}: {problem}" for step in seeds.steps()
                    for problem in seeds.play(world, step).problems]
        w.check(not problems, "\n".join(problems))


def test_time_runs_down_and_is_set_back(tracker):
    with w.World(tracker) as world:
        packet = w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 50, 51)

        def left():
            (line,) = world.lines("sport=50", "udp")
            return int(line.split()[2])

        world.client.send(packet)
        first = left()
        w.time.sleep(5)
        later = left()
        world.client.send(packet)
        again = left()
        w.check(first - 8 <= later <= first - 4, f"{first} s went to {later} s in five seconds")
        w.check(again >= 28, f"set back to {again} s")
