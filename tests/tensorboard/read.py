"""The scalars of a run folder, as TensorBoard reads them: {tag: [[step, value], ...]}."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
tags = events.Tags()["scalars"]
json.dump({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags}, sys.stdout)
