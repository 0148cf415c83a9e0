"""What Garmin calls the fields and types that peers read: facts, which are the same in whatever a peer is written in.

Belongs here: names, and nothing that reads or computes.
"""

from __future__ import annotations

AMOUNTS = [
    "durationInSeconds",
    "steps",
    "distanceInMeters",
    "floorsClimbed",
    "activeKilocalories",
    "activeTimeInSeconds",
    "moderateIntensityDurationInSeconds",
    "vigorousIntensityDurationInSeconds",
    "restingHeartRateInBeatsPerMinute",
    "minHeartRateInBeatsPerMinute",
    "maxHeartRateInBeatsPerMinute",
    "averageStressLevel",
    "restStressDurationInSeconds",
    "lowStressDurationInSeconds",
    "mediumStressDurationInSeconds",
    "highStressDurationInSeconds",
    "bodyBatteryChargedValue",
    "bodyBatteryDrainedValue",
    "awakeDurationInSeconds",
    "unmeasurableSleepInSeconds",
    "unmeasurableSleepDurationInSeconds",
    "deepSleepDurationInSeconds",
    "lightSleepDurationInSeconds",
    "remSleepInSeconds",
    "lastNightAvg",
    "vo2Max",
    "fitnessAge",
]
TIMES = ["startTimeInSeconds", "startTimeOffsetInSeconds", "measurementTimeInSeconds"]
TEXTS = ["userId", "_summary_type", "_received_at", "_ingest_id", "summaryId", "activityType", "validation"]
FLAGS = ["onDemand", "isParent"]
TYPES = {
    "manuallyUpdatedActivities": "activities",
    "pulseOx": "pulseox",
    "respiration": "allDayRespiration",
    "moveiq": "moveIQActivities",
}
"""Other names of summary types, and the documented ones."""
