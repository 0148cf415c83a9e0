"""A small lake that holds every way we know for raw lines to be wrong, odd, late, double or misplaced.

The engines and the reference must read it alike. Each trap has a participant of its own, named after it, so
that a difference names its cause. Nothing here says what is right: that is for the definitions.

Left out on purpose, because no definition decides them: one JSON object with a name twice, two different records that
are equal in everything that could rank them, and what a start outside of the years means for a clock time but the hour
of an epoch.
"""

import hashlib
import json
import random
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

Line = dict[str, Any]

MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
JST_S = 9 * 3600
HOUR = 3600
DROP = "<drop this field>"
VALIDATIONS = (
    "AUTO_MANUAL",
    "ENHANCED_FINAL",
    "enhanced_final",
    "AUTO_FINAL",
    "Device",
    "WORD_OF_TOMORROW",
    DROP,
    "ENHANCED_TENTATIVE",
    " Auto_Tentative ",
    "OFF_WRIST",
    "Manual",
)
STRESS_FIELDS = [f"{level}StressDurationInSeconds" for level in ("rest", "low", "medium", "high")]


def literal(json_text: str) -> str:
    """A value written into the line as it stands, for JSON that json.dumps cannot write (1e400)."""
    return f"<literal {json_text}>"


# What a number field may hold instead of a number of the right size.
DRIFT: list[Any] = [
    DROP,
    None,
    "",
    " ",
    "abc",
    "8000",
    " 8000 ",
    "8.5e2",
    "-5",
    -5,
    0,
    "0",
    True,
    False,
    "true",
    literal("NaN"),
    literal("Infinity"),
    literal("-Infinity"),
    literal("1e400"),
    literal("-1e400"),
    "NaN",
    "Infinity",
    "1e400",
    10**15,
    10**15 + 1,
    1.1e15,
    10**20,
    10**400,
    "1" + "0" * 40,
    1e308,
    [],
    [5],
    {},
    {"value": 5},
    "1,234",
    "0x10",
    "１２３",
    "1_000",
    "12 34",
    "2025-11-03",
    1e-7,
    3.5,
]

NUMBER_FIELDS = {
    "dailies": [
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
        *STRESS_FIELDS,
        "bodyBatteryChargedValue",
        "bodyBatteryDrainedValue",
    ],
    "sleeps": [
        "awakeDurationInSeconds",
        "unmeasurableSleepInSeconds",
        "deepSleepDurationInSeconds",
        "lightSleepDurationInSeconds",
        "remSleepInSeconds",
    ],
    "hrv": ["lastNightAvg"],
    "userMetrics": ["vo2Max", "fitnessAge"],
    "epochs": ["steps"],
    "activities": ["durationInSeconds"],
}
MAP_FIELDS = {
    "dailies": ["timeOffsetHeartRateSamples"],
    "sleeps": ["timeOffsetSleepSpo2", "timeOffsetSleepRespiration", "sleepLevelsMap"],
    "stressDetails": ["timeOffsetStressLevelValues", "timeOffsetBodyBatteryValues"],
    "pulseox": ["timeOffsetSpo2Values"],
    "allDayRespiration": ["timeOffsetEpochToBreaths"],
}


class Lake:
    """Collects raw lines by date directory and file, and writes them."""

    def __init__(self, monday: date) -> None:
        self.monday = monday
        self.participants: dict[str, str] = {}
        self.files: dict[tuple[int, str], list[bytes]] = {}

    def person(self, name: str, participant: str | None = None) -> str:
        """A mapped Garmin user."""
        user = f"garmin-{name}"
        self.participants[user] = participant or f"trap-{name}"
        return user

    def day(self, day: int) -> str:
        """The date of a day of the week; -1 is the Sunday before."""
        return (self.monday + timedelta(days=day)).isoformat()

    def utc(self, day: int, minute: float = 0, offset: int = JST_S) -> int:
        """UTC seconds of a local minute."""
        midnight = datetime.combine(self.monday + timedelta(days=day), datetime.min.time(), UTC)
        return int(midnight.timestamp() - offset + 60 * minute)

    def received(self, day: int, hour: float = 0) -> str:
        """The receipt time `hour` UTC hours into a day."""
        at = datetime.combine(self.monday + timedelta(days=day), datetime.min.time(), UTC)
        return (at + timedelta(hours=hour)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def put(self, kind: str, user: str, day: int, **fields: Any) -> None:
        """Write one record of a user and a day.

        `at` is its local start minute, `offset` the device's, `duration` its seconds; `body` names the
        request that brought it, `into` the date directory if it is not the day's. Other fields replace those
        of the record, or drop them (DROP).
        """
        body, into = fields.pop("body", "a"), fields.pop("into", day)
        at, offset = fields.pop("at", 0), fields.pop("offset", JST_S)
        ingest_id = hashlib.sha256(body.encode()).hexdigest()
        record = {
            "userId": user,
            "summaryId": f"{user}-{kind}-{day}-{at}",
            "calendarDate": self.day(day),
            "startTimeInSeconds": self.utc(day, at, offset),
            "startTimeOffsetInSeconds": offset,
            "durationInSeconds": fields.pop("duration", 86400),
            "_summary_type": kind,
            "_received_at": self.received(day + 1, 1),
            "_ingest_id": ingest_id,
        }
        record = {name: value for name, value in (record | fields).items() if not is_drop(value)}
        self.put_bytes(into, f"{ingest_id}.jsonl", dump(record))

    def put_bytes(self, day: int, file: str, line: bytes, end: bytes = b"\n") -> None:
        """Write bytes as a line of a file."""
        self.files.setdefault((day, file), []).append(line + end)

    def put_file(self, day: int, file: str, content: bytes) -> None:
        """Write a whole file."""
        self.files[(day, file)] = [content]

    def worn(self, user: str, day: int, **fields: Any) -> None:
        """A valid day by stress alone: exactly 200 samples of 3 min."""
        self.put("stressDetails", user, day, timeOffsetStressLevelValues=threes([30] * 200), **fields)

    def sleep(self, user: str, day: int, at: float, hours: float, **fields: Any) -> None:
        """A sleep that begins at local minute `at` of the day (negative: the evening before)."""
        defaults = {"validation": "ENHANCED_FINAL", "duration": int(hours * HOUR), "at": at}
        self.put("sleeps", user, day, **(defaults | fields))

    def write(self, lake_dir: Path) -> None:
        """Write all files below raw/daily."""
        for (day, file), lines in sorted(self.files.items()):
            directory = lake_dir / "raw" / "daily" / f"date={self.day(day)}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / file).write_bytes(b"".join(lines))


def is_drop(value: object) -> bool:
    """Whether a field is to be missing."""
    return isinstance(value, str) and value == DROP


def dump(record: object) -> bytes:
    """One JSON line, with literals written as they stand."""
    text = json.dumps(record, ensure_ascii=False)
    return re.sub(r'"<literal ([^>]*)>"', r"\1", text).encode()


def threes(levels: list[Any]) -> Line:
    """Samples 3 minutes apart."""
    return {str(180 * i): level for i, level in enumerate(levels)}


def beats(hours: float, bpm: Any = 60, start_s: int = 0, step_s: int = 15) -> Line:
    """Heart-rate samples, every `step_s` seconds."""
    return {str(second): bpm for second in range(start_s, start_s + int(hours * HOUR), step_s)}


def write_trap_lake(lake_dir: Path, monday: date) -> dict[str, str]:
    """Write the lake of the week of `monday` below `lake_dir`; gives userId -> participant_id."""
    lake = Lake(monday)
    for trap in TRAPS:
        trap(lake)
    lake.write(lake_dir)
    return lake.participants


# --- values ---


def ordinary(lake: Lake) -> None:
    """A week with every type and nothing wrong."""
    user = lake.person("ordinary")
    for day in range(7):
        bpm = 60 + day
        lake.put(
            "dailies",
            user,
            day,
            timeOffsetHeartRateSamples=beats(12, bpm, start_s=7 * HOUR),
            averageHeartRateInBeatsPerMinute=200,
            steps=7000 + 500 * day,
            distanceInMeters=5000.25 + day,
            floorsClimbed=day,
            activeKilocalories=300 + day,
            activeTimeInSeconds=3000 + 60 * day,
            moderateIntensityDurationInSeconds=1800,
            vigorousIntensityDurationInSeconds=600,
            restingHeartRateInBeatsPerMinute=50 + day % 3,
            minHeartRateInBeatsPerMinute=48,
            maxHeartRateInBeatsPerMinute=150,
            averageStressLevel=30 + day,
            bodyBatteryChargedValue=50 + day,
            bodyBatteryDrainedValue=60 - day,
            **dict(zip(STRESS_FIELDS, (30000, 9000, 3000, 90000 if day == WED else 1200), strict=True)),
        )
        lake.sleep(
            user,
            day,
            -30 + 13 * day,
            7 + day / 8,
            awakeDurationInSeconds=900,
            deepSleepDurationInSeconds=5000,
            lightSleepDurationInSeconds=14000,
            remSleepInSeconds=6000,
            timeOffsetSleepSpo2={"0": 95, "60": 89, "120": 90},
            timeOffsetSleepRespiration={"0": 14.5, "60": 15.25},
            overallSleepScore={"value": 80, "qualifierKey": "GOOD"},
            naps=[{"napDurationInSeconds": 1200}],
        )
        lake.worn(user, day, timeOffsetBodyBatteryValues=threes([20 + day, 90 - day, 40]))
        lake.put("hrv", user, day, at=-30, lastNightAvg=40 + 2 * day, hrvValues={"300": 41})
        lake.put("userMetrics", user, day, startTimeInSeconds=DROP, vo2Max=44.5, fitnessAge=33)
        lake.put("pulseox", user, day, onDemand=False, timeOffsetSpo2Values={"0": 70})
        lake.put("allDayRespiration", user, day, calendarDate=DROP, timeOffsetEpochToBreaths={"0": 15.5, "60": 16})
        for hour in range(24):
            epoch = {"activityType": "WALKING", "steps": 100 * hour, "duration": 900, "calendarDate": DROP}
            lake.put("epochs", user, day, at=60 * hour, **epoch)
        activity = {"activityType": "RUNNING", "duration": 2400, "calendarDate": DROP}
        lake.put("activities", user, day, at=1080, activityId=str(day), **activity)


def drifted_numbers(lake: Lake) -> None:
    """Every number field of every type holds each kind of wrong value once, seven kinds a week."""
    for i, value in enumerate(DRIFT):
        user, day, body = lake.person(f"drift-{i // 7}"), i % 7, f"drift {i}"
        # The levels give these sleeps an end that does not drift.
        levels = {"deep": [{"startTimeInSeconds": lake.utc(day), "endTimeInSeconds": lake.utc(day, 420)}]}
        lake.worn(user, day)
        for kind, fields in NUMBER_FIELDS.items():
            drifted = {"body": body, "duration": 900, "sleepLevelsMap": levels} | dict.fromkeys(fields, value)
            if kind == "sleeps" and value == 10**15:  # an end that hangs on the order of floating-point additions
                drifted["startTimeOffsetInSeconds"] = DROP
            lake.put(kind, user, day, **drifted)
        other = lake.person(f"drift-other-{i // 7}")
        lake.sleep(other, day, 0, 7, body=body, durationInSeconds=value, sleepLevelsMap=levels)
        lake.put("hrv", other, day, body=body, lastNightAvg=40, lastNight5MinHigh=value)
        lake.put("dailies", other, day, body=body, averageStresslevel=value)


def drifted_samples(lake: Lake) -> None:
    """Every sample map holds each kind of wrong value beside a right one."""
    values = {str(60 * i): value for i, value in enumerate(DRIFT) if not is_drop(value)}
    offsets = [
        "",
        " ",
        "abc",
        "7.5",
        " 30 ",
        "1e2",
        "NaN",
        "1e400",
        "null",
        "true",
        "0x1e",
        "6_0",
        "1" + "0" * 30,
    ]
    shapes: list[Any] = [
        values | {"5000": 61, "5001": "62", "5999": 64.5},
        {key: 40 + i for i, key in enumerate(offsets)},
        [61, 62],
        '{"0": 61}',
        {},
        {"0": {"0": 61}, "60": [61]},
        {"0": None, "60": 0, "120": -1, "180": -2, "240": "-1", "300": " -3 ", "360": "63"},
    ]
    user = lake.person("drift-samples")
    for day, shape in enumerate(shapes):
        for kind, fields in MAP_FIELDS.items():
            lake.put(kind, user, day, at=-60, duration=7 * HOUR, **dict.fromkeys(fields, shape))
    lonely = lake.person("drift-not-a-map")
    for day, shape in enumerate([None, 5, True, "abc", DROP, literal("NaN"), []]):
        for kind, fields in MAP_FIELDS.items():
            lake.put(kind, lonely, day, at=-60, duration=7 * HOUR, **dict.fromkeys(fields, shape))


def drifted_times(lake: Lake) -> None:
    """Start, offset and receipt hold each kind of wrong value; calendarDate keeps the record in its place."""
    for i, value in enumerate(DRIFT):
        user, day, body = lake.person(f"drift-time-{i // 7}"), i % 7, f"time {i}"
        if value != 10**15:
            beating = beats(1, 60, 90)
            lake.put("dailies", user, day, body=body, startTimeInSeconds=value, timeOffsetHeartRateSamples=beating)
        lake.put("epochs", user, day, body=body, startTimeOffsetInSeconds=value, steps=10)
        lake.put("hrv", user, day, body=body, _received_at=value, lastNightAvg=50)
        # Left out: midsleeps that hang on the order of floating-point additions.
        if value not in (10**15, 1e-7):
            lake.sleep(user, day, 0, 7, body=body, startTimeOffsetInSeconds=value)
    user = lake.person("times-odd")
    lake.put("dailies", user, MON, startTimeInSeconds=-86400, timeOffsetHeartRateSamples=beats(1))
    lake.sleep(user, MON, 0, 7, startTimeInSeconds=-86400)
    lake.sleep(user, TUE, 0, 7, startTimeInSeconds=DROP)
    lake.sleep(user, WED, 0, 7, startTimeOffsetInSeconds=DROP)
    lake.put("epochs", user, THU, startTimeInSeconds="later", steps=10)
    lake.put("epochs", user, FRI, startTimeOffsetInSeconds=DROP, steps=10)
    lake.put("epochs", user, FRI, body="b", at=-60, steps=7)
    start = lake.utc(SAT)
    lake.put("dailies", user, SAT, startTimeInSeconds=f" {start} ", startTimeOffsetInSeconds=str(JST_S), steps=1)
    lake.put("dailies", user, SUN, startTimeInSeconds=lake.utc(SUN) * 1000, steps=1)


def levels_of_sleep(lake: Lake) -> None:
    """sleepLevelsMap in every shape; the end may come from it, or not."""
    user = lake.person("sleep-levels")
    start = lake.utc(MON, 0)

    def upto(day: int, minute: float, **extra: Any) -> Line:
        return {"startTimeInSeconds": lake.utc(day), "endTimeInSeconds": lake.utc(day, minute)} | extra

    lake.sleep(user, MON, 0, 7, sleepLevelsMap={"deep": [upto(MON, 400)], "awake": [upto(MON, 500)], "rem": []})
    lake.sleep(user, TUE, 0, 7, sleepLevelsMap={"unmeasurable": [upto(TUE, 450)], "light": [upto(TUE, 30)]})
    odd_ends: list[Any] = [start, start - 5, start + 48 * HOUR + 1, None, "abc", True, [], 10**16]
    odd: list[Any] = [upto(MON, 0, endTimeInSeconds=end) for end in odd_ends]
    lake.sleep(user, WED, 0, 7, startTimeInSeconds=start, sleepLevelsMap={"deep": [*odd, 5, None, "x", [1]]})
    late = {"startTimeInSeconds": None, "endTimeInSeconds": str(lake.utc(THU, 48 * 60))}
    lake.sleep(user, THU, 0, 7, sleepLevelsMap={"rem": [late, {}], "light": upto(THU, 90), "deep": None})
    lake.sleep(user, FRI, 0, 7, sleepLevelsMap={"light": [upto(FRI, 300)]}, startTimeInSeconds=DROP)
    unmeasurable = {"unmeasurableSleepDurationInSeconds": 600, "awakeDurationInSeconds": "300"}
    lake.sleep(user, SAT, 0, 7, sleepLevelsMap=[upto(SAT, 300)], **unmeasurable)
    both = {"unmeasurableSleepInSeconds": 60, "unmeasurableSleepDurationInSeconds": 600}
    lake.sleep(user, SUN, 0, 7, sleepLevelsMap={}, **both)


def odd_text(lake: Lake) -> None:
    """Numbers where text is due, and text that is hard to carry."""
    user = lake.person("odd-text")
    lake.put("dailies", user, MON, summaryId=12345, steps=1, note='line\u2028separator \u0085 \\ " é 🌙 \t end')
    lake.put("dailies", user, TUE, summaryId={"id": 5}, steps=2, activityType=7)
    lake.put("dailies", user, WED, calendarDate=20251105, steps=3)
    lake.put("sleeps", user, MON, duration=7 * HOUR, validation=5)
    lake.put("sleeps", user, TUE, duration=7 * HOUR, validation=["MANUAL"])
    lake.put("sleeps", user, WED, duration=7 * HOUR, validation=None)
    lake.put("epochs", user, MON, activityType=None, steps=10)
    lake.put("epochs", user, MON, activityType="", steps=20)
    number = "4815162342"
    lake.participants[number] = "trap-user-id-is-a-number"
    lake.put("dailies", user, MON, userId=int(number), steps=4)
    lake.put("dailies", user, TUE, userId=number, steps=5)
    for day, value in enumerate(["true", "TRUE", "false", "yes", 1, None, ["true"]]):
        flags = {"timeOffsetSpo2Values": {"0": 80 + day}, "onDemand": value, "isParent": value}
        lake.put("pulseox", user, day, at=5, **flags)
        lake.put("activities", user, day, at=5, duration=600 + day, **flags)
    for day, value in enumerate(["1", "0", 0, 2, True, False, "tRuE"]):
        flags = {"timeOffsetSpo2Values": {"0": 90 + day}, "onDemand": value, "isParent": value}
        lake.put("pulseox", user, day, at=6, **flags)
        lake.put("activities", user, day, at=6, duration=900 + day, **flags)


# --- which record counts ---


def versions(lake: Lake) -> None:
    """The longest counts, at equal length that received last, then that with the greater ingest id."""
    user = lake.person("versions")
    noon, later = lake.received(MON, 3), lake.received(MON, 15)
    lake.put("dailies", user, MON, body="late", summaryId="new", steps=500, _received_at=later, duration=100)
    lake.put("dailies", user, MON, body="early", summaryId="old", steps=900, _received_at=noon, duration=86400)
    for body, duration, steps in (("x", 40000, 1), ("y", 80000, 2), ("z", 60000, 3)):
        lake.put("dailies", user, TUE, body=body, duration=duration, steps=steps)
    for body, steps in (("p", 10), ("q", 20), ("r", 30)):
        lake.put("dailies", user, WED, body=body, steps=steps)
    zoned = lake.received(THU + 1, 10).replace("Z", "+09:00")
    lake.put("dailies", user, THU, body="zone", steps=77, duration=500, _received_at=zoned)
    lake.put("dailies", user, THU, body="utc", steps=78, duration=400, _received_at=lake.received(THU + 1, 1))
    for body, receipt in (
        ("none", DROP),
        ("word", "yesterday"),
        ("number", 1762300000),
        ("day", "2025-13-45T00:00:00Z"),
    ):
        lake.put("dailies", user, FRI, body=body, _received_at=receipt, steps=len(body), _ingest_id=body)
    lake.put("dailies", user, SAT, body="no id", _ingest_id=DROP, steps=5, duration=900)
    lake.put("dailies", user, SAT, body="an id", steps=6, duration=900)
    lake.put("dailies", user, SUN, body="no length", durationInSeconds=DROP, steps=7)
    lake.put("dailies", user, SUN, body="length", duration=1, steps=8)
    for body in ("once", "twice"):
        lake.put("hrv", user, MON, body=body, lastNightAvg=50, _ingest_id="same", _received_at=noon)
        lake.put("hrv", user, MON, body=body, lastNightAvg=50, _ingest_id="same", _received_at=noon)
    # The later version lost what the earlier one had: it counts all the same.
    lake.put("hrv", user, TUE, body="full", lastNightAvg=44, _received_at=lake.received(TUE, 1))
    lake.put("hrv", user, TUE, body="bare", _received_at=lake.received(TUE, 2))
    # Two nights of one date: for hrv the latest received counts.
    lake.put("hrv", user, WED, body="h1", at=-60, lastNightAvg=61, _received_at=lake.received(WED, 2))
    lake.put("hrv", user, WED, body="h2", at=60, lastNightAvg=62, _received_at=lake.received(WED, 1))
    lake.put("hrv", user, THU, body="h3", at=-60, lastNightAvg=63)
    lake.put("hrv", user, THU, body="h4", at=60, lastNightAvg=64)
    # Milliseconds decide.
    lake.put(
        "sleeps",
        user,
        MON,
        body="ms1",
        duration=HOUR,
        _received_at=lake.received(MON, 3).replace(".000", ".001"),
    )
    lake.put("sleeps", user, MON, body="ms0", duration=2 * HOUR, _received_at=lake.received(MON, 3))


def versions_by_type(lake: Lake) -> None:
    """A part of the day is sent again after all of it; one has no duration; two are of one body."""
    samples = {
        "dailies": "timeOffsetHeartRateSamples",
        "stressDetails": "timeOffsetStressLevelValues",
        "pulseox": "timeOffsetSpo2Values",
        "allDayRespiration": "timeOffsetEpochToBreaths",
    }

    def put_all(day: int, value: int, hour: float, **fields: Any) -> None:
        fields = {"_received_at": lake.received(day + 1, hour)} | fields
        for kind, field in samples.items():
            lake.put(kind, user, day, **{field: {"0": value, "60": value}}, steps=value, **fields)
        lake.put("hrv", user, day, lastNightAvg=value, **fields)
        lake.put("epochs", user, day, steps=value, **fields)
        lake.put("sleeps", user, day, **fields, awakeDurationInSeconds=value, validation="AUTO_FINAL")
        lake.put("activities", user, day, summaryId="one", **fields)
        lake.put("userMetrics", user, day, **fields, vo2Max=value, fitnessAge=value if value % 2 else None)

    user = lake.person("versions-by-type")
    put_all(MON, 61, 1, body="whole", duration=80000)
    put_all(MON, 62, 5, body="part", duration=40000)
    put_all(TUE, 63, 3, body="unknown", durationInSeconds=DROP)
    put_all(TUE, 64, 2, body="whole", duration=80000)
    put_all(TUE, 65, 5, body="part", duration=40000)
    put_all(WED, 66, 3, body="unknown", durationInSeconds=None)
    put_all(WED, 67, 4, body="known", duration=40000)
    for value in (68, 69):
        put_all(THU, value, 1, body="both in one")
    for value in (71, 70):
        put_all(FRI, value, 1, body="both in one")
    for body in ("named by its file", "named by its file too"):
        put_all(SAT, 72 + len(body), 1, body=body, _ingest_id=DROP)
    put_all(SUN, 95, 1, body="of an hour", _received_at="2020-01-01 00:00:00")
    put_all(SUN, 96, 1, body="without a zone", _received_at=lake.received(SUN, 9)[:19])
    put_all(SUN, 97, 1, body="with another", _received_at=lake.received(SUN, 10)[:19] + "+02:00")


def deliveries(lake: Lake) -> None:
    """Of the epochs of one start one delivery counts; several of them, of several lengths, in any order."""
    chance = random.Random(15)
    for person in range(3):
        user = lake.person(f"deliveries-{person}")
        for day in range(7):
            for number in range(chance.randrange(4, 12)):
                body = f"delivery {chance.randrange(4)}"
                lake.put(
                    "epochs",
                    user,
                    day,
                    body=body,
                    at=15 * chance.randrange(3),
                    activityType=chance.choice(("WALKING", "RUNNING", "SEDENTARY")),
                    steps=2**number,
                    durationInSeconds=chance.choice((900, 900, 900, 600)),
                    _received_at=lake.received(day + 1, int(body[-1]) // 2),
                )
    user = lake.person("deliveries-of-unknown-length")
    for day in range(7):
        for number in range(4):
            fields = {"activityType": f"TYPE {number % 2}", "steps": 2**number, "body": f"delivery {number // 2}"}
            length = DROP if chance.random() < 0.4 else chance.choice((900, 600))
            hour = chance.randrange(2)
            lake.put("epochs", user, day, **fields, durationInSeconds=length, _received_at=lake.received(day + 1, hour))


def nights(lake: Lake) -> None:
    """Drafts, final and corrected ones, naps, chains that overlap; parts that agree with the duration or not."""
    chance = random.Random(7)
    for person in range(8):
        user = lake.person(f"nights-{person}")
        for day in range(7):
            for _ in range(chance.randrange(1, 6)):
                at = chance.choice((-150, -90, -60, -30, 0, 45, 200, 400, 780))
                body, hour = f"night {chance.randrange(3)}", chance.choice((1, 1, 2, 3))
                parts = parts_of_sleep(chance, lake.utc(day, at))
                word = chance.choice(VALIDATIONS)
                lake.put(
                    "sleeps",
                    user,
                    day,
                    body=body,
                    at=at,
                    validation=word,
                    **parts,
                    _received_at=lake.received(day, hour),
                )
    user = lake.person("nights-chained")
    for day, words in enumerate(
        (
            ("ENHANCED_FINAL", "AUTO_FINAL", "ENHANCED_TENTATIVE"),
            ("AUTO_TENTATIVE", "ENHANCED_TENTATIVE", "AUTO_FINAL"),
            ("AUTO_FINAL", "AUTO_MANUAL", "AUTO_FINAL"),
            ("AUTO_MANUAL", "OFF_WRIST", "AUTO_TENTATIVE"),
            ("AUTO_FINAL", "ENHANCED_TENTATIVE", "AUTO_FINAL"),
            ("DEVICE", "AUTO_FINAL", DROP),
            ("AUTO_MANUAL", "AUTO_FINAL", "ENHANCED_FINAL"),
        )
    ):
        for number, (word, at, hours) in enumerate(zip(words, (-120, 60, 240), (4, 4.5, 5), strict=True)):
            lake.sleep(user, day, at, hours, validation=word, _received_at=lake.received(day, number % 2))
    user = lake.person("nights-without-a-start")
    for day in range(7):
        for number in range(3):
            lake.sleep(
                user,
                day,
                0,
                5 + number % 2,
                validation=VALIDATIONS[(3 * day + number) % len(VALIDATIONS)],
                startTimeInSeconds=DROP,
                summaryId=f"sleep {number // 2 if day % 2 else number}",
                _received_at=lake.received(day, number),
            )


def parts_of_sleep(chance: random.Random, start: int) -> Line:
    """What a sleep may say of its parts: the stages, awake and unmeasurable time, a duration that has some of them."""
    stages = [60 * chance.randrange(20, 150) for _ in range(3)]
    awake, unmeasured = 60 * chance.randrange(0, 60), 60 * chance.randrange(0, 40)
    has_awake, has_unmeasured = chance.choice(((0, 0), (0, 1), (1, 0), (1, 1)))
    duration = sum(stages) + has_awake * awake + has_unmeasured * unmeasured
    duration += chance.choice((0, 0, 60, 120, 121, -120, -121, 3000))
    parts: Line = {
        "deepSleepDurationInSeconds": stages[0],
        "lightSleepDurationInSeconds": stages[1],
        "remSleepInSeconds": stages[2],
        "awakeDurationInSeconds": awake,
        chance.choice(("unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds")): unmeasured,
        "durationInSeconds": duration,
    }
    for name in [*parts]:
        if chance.random() < 0.15:
            del parts[name]
    parts.setdefault("durationInSeconds", chance.choice((DROP, None, 0)))
    length = sum(stages) + awake + unmeasured
    parts |= {
        "timeOffsetSleepSpo2": {str(at): 90 + n for n, at in enumerate((-1, 0, length - 60, length, length + 60))},
        "timeOffsetSleepRespiration": {str(at): 12 + n for n, at in enumerate((-60, 60, duration, length + 1))},
    }
    if chance.random() < 0.7:
        parts["sleepLevelsMap"] = levels_of(chance, start, length)
    return parts


def levels_of(chance: random.Random, start: int, length: int) -> Line:
    """Intervals one after another with gaps in between, and an end that may be far from that of the parts."""
    levels: Line = {}
    at = start + 60 * chance.choice((0, 0, -20, 15))
    while at < start + length:
        until = at + 60 * chance.randrange(10, 120)
        level = chance.choice(("light", "deep", "rem", "awake", "unmeasurable"))
        levels.setdefault(level, []).append({"startTimeInSeconds": at, "endTimeInSeconds": until})
        at = until + 60 * chance.choice((0, 0, 0, 12))
    far = chance.choice((None, None, None, 12 * HOUR, 12 * HOUR + 1, -30 * HOUR, 600))
    if far is not None:
        late = {"startTimeInSeconds": start, "endTimeInSeconds": start + length + far}
        levels.setdefault(chance.choice(("awake", "light")), []).append(late)
    if chance.random() < 0.3:
        levels["awake"] = []
    if chance.random() < 0.3:
        for stage in ("light", "deep", "rem"):
            levels.pop(stage, None)
    return levels


def dates_of_waking(lake: Lake) -> None:
    """Without a calendarDate a sleep and an hrv belong to the date they end on, whichever date they lie under."""
    chance = random.Random(3)
    for person, offset in enumerate((JST_S, -10 * HOUR, 20700)):
        user = lake.person(f"waking-{person}")
        for day in range(7):
            for number in range(2):
                at = chance.choice((-400, -240, -150, -30, 0, 10, 1300))
                parts = parts_of_sleep(chance, lake.utc(day, at, offset))
                parts["lightSleepDurationInSeconds"] = 7200
                spelled: Line = {"offset": offset, "at": at, "calendarDate": DROP}
                if chance.random() < 0.2:
                    spelled["startTimeOffsetInSeconds"] = DROP
                for into in range(max(day - 1, MON), min(day + 1, SUN) + 1):
                    lake.put("sleeps", user, day, into=into, body=f"w{number}", **spelled, **parts)
                    length = parts["durationInSeconds"]
                    hrv = {"lastNightAvg": 40 + 10 * number + day, "durationInSeconds": length}
                    lake.put("hrv", user, day, into=into, body=f"w{number}", **spelled, **hrv)
    user = lake.person("waking-edges")
    undated: Line = {"calendarDate": DROP}
    lake.sleep(user, MON, -60, 1, **undated)  # ends at midnight
    lake.sleep(user, MON, -61, 1, into=MON, **undated)  # and a minute before
    lake.put("hrv", user, MON, at=-60, duration=3600, lastNightAvg=50, **undated)
    lake.put("hrv", user, TUE, at=-60, durationInSeconds=DROP, lastNightAvg=51, into=MON, **undated)
    lake.put("sleeps", user, TUE, at=5, durationInSeconds=DROP, **undated)  # ends at its start
    ms = {"startTimeInSeconds": lake.utc(WED) * 1000, "_received_at": lake.received(WED, 15)}
    ms |= {"durationInSeconds": DROP}
    for kind in ("dailies", "hrv", "epochs", "stressDetails"):
        for into in (WED, THU):
            lake.put(kind, user, WED, into=into, **undated, **ms, steps=5, lastNightAvg=52)
    lake.put("epochs", user, THU, into=FRI, body="b", **undated, startTimeInSeconds=-(10**14), steps=7)
    before = {"startTimeInSeconds": -2_208_988_801, "offset": 0, "duration": 7200}  # a second before 1900, and into it
    for into in (FRI, SAT):
        lake.put("hrv", user, FRI, into=into, body="c", **undated, **before, _received_at=lake.received(FRI, 15))


def keys(lake: Lake) -> None:
    """What makes two records versions of one another differs by type."""
    user = lake.person("keys")
    ox = {"timeOffsetSpo2Values": {"0": 92}}
    lake.put("pulseox", user, MON, onDemand=False, **ox)
    lake.put("pulseox", user, MON, onDemand=True, timeOffsetSpo2Values={"0": 50})
    lake.put("pulseOx", user, MON, body="b", onDemand=False, timeOffsetSpo2Values={"0": 95}, duration=90000)
    lake.put("pulseox", user, MON, at=60, timeOffsetSpo2Values={"0": 88, "60": 90})
    lake.put("respiration", user, MON, timeOffsetEpochToBreaths={"0": 12})
    lake.put("allDayRespiration", user, MON, body="b", timeOffsetEpochToBreaths={"0": 18}, duration=90000)
    lake.put("allDayRespiration", user, MON, at=600, timeOffsetEpochToBreaths={"0": 15, "60": 0})
    lake.put("moveiq", user, MON, at=7, startTimeOffsetInSeconds=DROP, offsetInSeconds=JST_S)
    lake.put("moveIQActivities", user, MON, body="b", at=7)
    for kind, steps in (("WALKING", 100), ("RUNNING", 50), ("WALKING", 110)):
        lake.put("epochs", user, TUE, body=f"{steps}", at=600, activityType=kind, steps=steps, duration=900)
    lake.put("epochs", user, TUE, at=615, activityType="WALKING", steps=7)
    lake.put("epochs", user, TUE, at=660, activityType="WALKING")
    # The start as text is the same start.
    start = lake.utc(WED)
    lake.put("dailies", user, WED, body="c", startTimeInSeconds=str(start), steps=1, duration=900)
    lake.put("dailies", user, WED, body="d", startTimeInSeconds=start, steps=2, duration=800)
    # No start: the summaryId takes its place, and without that too all are one.
    for body, summary_id, level in (
        ("e", "s1", 10),
        ("f", "s1", 20),
        ("g", "s2", 40),
        ("h", DROP, 60),
        ("i", DROP, 80),
    ):
        fields = {
            "startTimeInSeconds": DROP,
            "summaryId": summary_id,
            "timeOffsetStressLevelValues": {"0": level},
        }
        lake.put("stressDetails", user, WED, body=body, **fields)
    # activities and manuallyUpdatedActivities are one key space, by summaryId.
    lake.put("activities", user, THU, summaryId="act-1", at=600, duration=1800)
    update = {"summaryId": "act-1", "at": 601, "duration": 2400, "_received_at": lake.received(SUN)}
    lake.put("manuallyUpdatedActivities", user, THU, body="b", **update)
    lake.put("activities", user, THU, summaryId="act-2", at=600, duration=600)
    lake.put("activities", user, FRI, summaryId=991, at=600, duration=600)
    lake.put("activities", user, FRI, summaryId="991", at=700, duration=660)
    lake.put("activities", user, FRI, summaryId=DROP, at=800, duration=720)
    for measured in (100, 200):
        weight: Line = {"calendarDate": DROP, "startTimeInSeconds": DROP, "startTimeOffsetInSeconds": DROP}
        weight |= {
            "measurementTimeInSeconds": lake.utc(SAT, measured),
            "measurementTimeOffsetInSeconds": JST_S,
        }
        for kind in ("bodyComps", "bloodPressures"):
            for body in ("a", "b"):
                lake.put(kind, user, SAT, body=body, weightInGrams=60000, **weight)
    for body in ("a", "b"):
        lake.put("userMetrics", user, SUN, body=body, at=len(body), vo2Max=40 if body == "a" else 41, fitnessAge=30)
        change = {"changeTimeInSeconds": lake.utc(SUN, 5), "permissions": ["ACTIVITY_EXPORT"]}
        bare = {"startTimeInSeconds": DROP, "calendarDate": DROP, "_received_at": lake.received(SUN, 2)}
        lake.put("userPermissionsChange", user, SUN, body=body, summaryId=body, **change, **bare)
    # Two users may have one summaryId.
    for name in ("keys-shared-1", "keys-shared-2"):
        shared = lake.person(name)
        lake.put("activities", shared, MON, summaryId="shared", duration=60 * len(shared))
        lake.put("dailies", shared, MON, summaryId="shared", startTimeInSeconds=DROP, steps=len(shared))


def travel(lake: Lake) -> None:
    """Two dailies of one date with different starts: the longest, the latest received, the ingest id."""
    user = lake.person("travel")
    lake.put("dailies", user, MON, steps=100, duration=30000, _received_at=lake.received(THU))
    lake.put("dailies", user, MON, at=480, steps=200, duration=50000)
    lake.put("dailies", user, TUE, steps=300, _received_at=lake.received(WED, 5))
    lake.put("dailies", user, TUE, at=-480, steps=400, _received_at=lake.received(WED, 4))
    lake.put("dailies", user, WED, body="t1", steps=500)
    lake.put("dailies", user, WED, body="t2", at=-60, steps=600)
    lake.put("dailies", user, THU, durationInSeconds=DROP, steps=700, _received_at=lake.received(SUN))
    lake.put("dailies", user, THU, at=60, duration=0, steps=800)
    # The longest has no heart rate, the other has: they are not mixed.
    lake.put("dailies", user, FRI, steps=900)
    lake.put("dailies", user, FRI, at=60, duration=80000, timeOffsetHeartRateSamples=beats(11))
    for day, offset in ((SAT, -10 * HOUR), (SUN, 14 * HOUR)):
        lake.put("dailies", user, day, offset=offset, steps=1000, timeOffsetHeartRateSamples=beats(2))
        lake.sleep(user, day, -60, 7, offset=offset)
        lake.put("epochs", user, day, offset=offset, at=30, steps=11, calendarDate=DROP)
        lake.put("epochs", user, day, offset=offset, at=1439, steps=13, calendarDate=DROP)


def two_accounts(lake: Lake) -> None:
    """One participant with two Garmin accounts: of each date that with the most wear counts, for all types."""
    first, second = (
        lake.person("account-1", "trap-two-accounts"),
        lake.person("account-2", "trap-two-accounts"),
    )

    def day_of(user: str, day: int, number: int, hour: float = 1, **fields: Any) -> None:
        fields |= {"_received_at": lake.received(day + 1, hour)}
        lake.put("dailies", user, day, steps=1000 * number, **fields)
        lake.put("activities", user, day, at=600, duration=600 * number, **fields)
        lake.put("epochs", user, day, at=600, steps=1000 * number, **fields)
        lake.put("userMetrics", user, day, **{"vo2Max" if number == 1 else "fitnessAge": 40}, **fields)
        lake.put("hrv", user, day, lastNightAvg=40 + number, **fields)
        lake.sleep(user, day, -30 * number, 5 + number, **fields)

    # More wear, though received earlier; the same again with wear from stress.
    day_of(first, MON, 1, 1, timeOffsetHeartRateSamples=beats(11))
    day_of(second, MON, 2, 2, timeOffsetHeartRateSamples=beats(10.5))
    day_of(first, TUE, 1, 2, timeOffsetHeartRateSamples=beats(9.9))
    day_of(second, TUE, 2, 1)
    lake.worn(second, TUE)
    # As much wear: received last; and if that is the same, the greater user.
    day_of(first, WED, 1, 2, timeOffsetHeartRateSamples=beats(11))
    day_of(second, WED, 2, 1, timeOffsetHeartRateSamples=beats(11, 70))
    day_of(first, THU, 1)
    day_of(second, THU, 2)
    # Known not to be worn, and unknown.
    day_of(first, FRI, 1, 1)
    lake.put("stressDetails", first, FRI, timeOffsetStressLevelValues={"0": -1}, _received_at=lake.received(FRI, 1))
    day_of(second, FRI, 2, 3)
    # Each only on a day of its own; the other has a record of no known type.
    day_of(first, SAT, 1, timeOffsetHeartRateSamples=beats(1))
    lake.put("somethingNew", second, SAT, _received_at=lake.received(SUN, 5))
    day_of(second, SUN, 2)
    third = lake.person("account-3", "trap-many-accounts")
    for number, user in enumerate((third, lake.person("account-4", "trap-many-accounts"))):
        for day in range(7):
            lake.put("stressDetails", user, day, timeOffsetStressLevelValues=threes([20] * (100 + day * number)))
            lake.put("dailies", user, day, body="b", steps=day + 10 * number, _received_at=lake.received(day, number))


def naps(lake: Lake) -> None:
    """The main sleep is the longest that the device saw."""
    user = lake.person("naps")
    lake.sleep(user, MON, -60, 6)
    lake.sleep(user, MON, 840, 1.5)
    lake.sleep(user, MON, 700, 9, validation="Off_Wrist")
    lake.sleep(user, MON, 701, 10, validation="manual")
    lake.sleep(user, TUE, 0, 8, validation="OFF_WRIST")
    lake.sleep(user, TUE, 1, 5, validation="Device")
    lake.sleep(user, WED, 0, 8, validation="Manual")
    lake.sleep(user, THU, 0, 7, body="n1", _received_at=lake.received(THU, 2))
    lake.sleep(user, THU, 9, 7, body="n2", _received_at=lake.received(THU, 1))
    lake.sleep(user, FRI, 0, 7, body="n3")
    lake.sleep(user, FRI, 9, 7, body="n4")
    lake.sleep(user, SAT, 0, 0)
    lake.sleep(user, SAT, 5, -1)
    lake.sleep(user, SUN, 0, 7, body="n5", timeOffsetSleepSpo2={"0": 0}, timeOffsetSleepRespiration={"0": -1})
    lake.sleep(user, SUN, 600, 1, body="n5", timeOffsetSleepSpo2={"0": 99}, timeOffsetSleepRespiration={"0": 22})
    lake.put("pulseox", user, SUN, onDemand="False", timeOffsetSpo2Values={"0": 93, "60": "91", "120": -4})
    # An update turned a sleep into one off the wrist: there is no sleep.
    lake.sleep(user, TUE, 2, 6, body="u1", _received_at=lake.received(WED, 1))
    lake.sleep(user, TUE, 2, 6, body="u2", _received_at=lake.received(WED, 2), validation="off_wrist")


def exercise(lake: Lake) -> None:
    """Sessions, parents, missing durations, and days without any."""
    user = lake.person("exercise")
    lake.put("dailies", user, MON, steps=1)
    lake.put("dailies", user, TUE, steps=1)
    lake.put("activities", user, TUE, isParent=True, duration=9000)
    lake.put("activities", user, WED, isParent=True, duration=9000)
    lake.put("activities", user, THU, at=1, durationInSeconds=DROP)
    lake.put("activities", user, THU, at=2, duration=-60)
    lake.put("activities", user, FRI, at=1, durationInSeconds=None)
    lake.put("activities", user, FRI, at=2, duration=90)
    lake.put("activities", user, FRI, at=3, duration=90, isParent=False, parentSummaryId="p", manual=True)
    lake.put("activityDetails", user, SAT, duration=4000)
    lake.put("activityFiles", user, SUN, callbackURL="https://apis.garmin.com/wellness-api/rest/activityFile?id=1")


# --- where a record lies ---


def misfiled(lake: Lake) -> None:
    """Records under another date than their own, and records whose date must be found."""
    user = lake.person("misfiled")
    no_date = {"calendarDate": DROP}
    no_start = {"startTimeInSeconds": DROP, "startTimeOffsetInSeconds": DROP}
    lake.put("dailies", user, MON, into=TUE, steps=1)
    lake.put("dailies", user, MON, into=WED, body="newer", steps=2, _received_at=lake.received(SUN))
    lake.put("dailies", user, MON, into=MON, steps=3, body="older")
    lake.put("dailies", user, -1, into=MON, body="b", steps=4)
    lake.put("dailies", user, 7, into=SUN, body="b", steps=5)
    # calendarDate wins over start; what is no strict date gives way to it.
    lake.put("dailies", user, TUE, body="c", at=-3000, steps=6)
    undated: list[Any] = [
        "2025-02-30",
        "",
        "2025-11-5",
        " 2025-11-05 ",
        "2025-11-05T00:00:00",
        None,
        True,
        {},
    ]
    for i, text in enumerate(undated):
        lake.put("stressDetails", user, WED, at=i, calendarDate=text, timeOffsetStressLevelValues={"0": 10 * i})
        lake.put(
            "stressDetails",
            user,
            WED,
            at=i,
            into=THU,
            calendarDate=text,
            timeOffsetStressLevelValues={"0": 99},
        )
    # Local midnight falls between these.
    lake.put("epochs", user, FRI, at=-1, steps=1, into=THU, **no_date)
    lake.put("epochs", user, FRI, at=-1, steps=2, into=FRI, **no_date)
    lake.put("epochs", user, FRI, at=0, steps=4, **no_date)
    lake.put("epochs", user, FRI, at=1439, steps=8, **no_date)
    lake.put("epochs", user, FRI, at=1440, steps=16, into=FRI, **no_date)
    lake.put("epochs", user, FRI, at=1441, steps=32, into=SAT, **no_date)
    # No offset counts as none: 08:59 in Japan is the day before in UTC.
    no_offset = {"startTimeOffsetInSeconds": DROP, **no_date}
    lake.put("epochs", user, SAT, at=539, steps=64, into=SAT, **no_offset)
    lake.put("epochs", user, SAT, at=541, steps=128, into=SAT, **no_offset)
    # Nothing but the receipt: its date in Japan; 15:00 UTC is the next day there.
    lake.put("userMetrics", user, SUN, vo2Max=41, **no_date, **no_start, _received_at=lake.received(SAT, 15))
    lake.put("hrv", user, SUN, lastNightAvg=41, **no_date, **no_start, _received_at=lake.received(SUN, 15))
    # Not even that: the directory's.
    lake.put("hrv", user, SAT, body="d", lastNightAvg=42, **no_date, **no_start, _received_at=DROP)
    # Other names and places for the same facts.
    nested = {
        "startTimeInSeconds": lake.utc(SUN, 10),
        "startTimeOffsetInSeconds": JST_S,
        "durationInSeconds": 60,
    }
    lake.put("activityDetails", user, SUN, **no_date, **no_start, summary=nested)
    lake.put("activityDetails", user, SUN, into=MON, body="e", **no_date, **no_start, summary=nested)
    lake.put("activityDetails", user, SUN, body="f", summaryId="g", **no_date, **no_start, summary="not an object")
    for name in ("offsetStartTimeInSeconds", "offsetInSeconds"):
        renamed = {"startTimeInSeconds": lake.utc(SUN, 20), "startTimeOffsetInSeconds": DROP, name: JST_S}
        lake.put("healthSnapshot", user, SUN, body=name, summaryId=name, **no_date, **renamed)
    weight = {"measurementTimeInSeconds": lake.utc(SUN, 30), "measurementTimeOffsetInSeconds": JST_S}
    lake.put("bodyComps", user, SUN, **no_date, **no_start, **weight)
    lake.put("bodyComps", user, SUN, into=SAT, **no_date, **no_start, **weight)


def strangers(lake: Lake) -> None:
    """Users nobody enrolled, lines without a user, types nobody knows."""
    user = lake.person("unknown-types")
    lake.put("dailies", "garmin-nobody", MON, steps=99999)
    lake.put("sleeps", "", MON, duration=9 * HOUR)
    for nobody in (DROP, None, [user], {"id": user}, True):
        lake.put("dailies", user, MON, userId=nobody, steps=99999)
    lake.put("dailies", user.upper(), MON, steps=99999)
    lake.put("dailies", f"{user} ", MON, steps=99999)
    lake.put("menstrualCycleTracking", user, TUE, dayInCycle=3)
    lake.put("Dailies", user, TUE, steps=99999)
    lake.put("dailies", user, TUE, _summary_type=DROP, steps=99999)
    lake.put("dailies", lake.person("no-type-and-nothing-else"), TUE, _summary_type=None, steps=99999)
    lake.put("mct", user, WED)
    lake.put("skinTemp", user, WED, avgDeviationCelsius=-0.5)
    lake.put("deregistrations", user, THU, startTimeInSeconds=DROP, summaryId=DROP)


def odd_files(lake: Lake) -> None:
    """Files and lines that are not what the contract says."""
    user = lake.person("odd-files")

    def daily(day: int, steps: int, **fields: Any) -> bytes:
        record = {"userId": user, "_summary_type": "dailies", "calendarDate": lake.day(day), "steps": steps}
        record |= {"startTimeInSeconds": lake.utc(day), "startTimeOffsetInSeconds": JST_S}
        record |= {"durationInSeconds": 86400, "_received_at": lake.received(day + 1), "_ingest_id": "f"}
        return dump(record | fields)

    for name in ("notes.txt", ".hidden.jsonl", "_temp.jsonl", "old.jsonl.bak", "data.json"):
        lake.put_file(MON, name, daily(MON, 99999, durationInSeconds=90000) + b"\n")
    lake.put_file(MON, "empty.jsonl", b"")
    lake.put_file(MON, "newlines.jsonl", b"\n\n\n")
    lake.put_file(MON, "good.jsonl", daily(MON, 1001) + b"\n")
    half = daily(TUE, 99999, durationInSeconds=90000)[:-20]
    lake.put_file(TUE, "half.jsonl", b"\n".join([daily(TUE, 1002), b"", b"   ", b"\t", half]))
    lake.put_file(WED, "no-newline-at-end.jsonl", daily(WED, 1003))
    wrong = [
        b"not json",
        b"[]",
        b"[" + daily(THU, 99999) + b"]",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b"{",
        b"true",
        b"nan",
    ]
    wrong += [
        daily(THU, 99999) + b" trailing",
        b'{"a":1}{"b":2}',
        b"{'userId': 'x'}",
        b"\x00",
        b"\x1f\x8b\x08 gzip",
    ]
    lake.put_file(THU, "wrong.jsonl", b"\n".join([*wrong, b"  " + daily(THU, 1004) + b"  ", b""]))
    windows = daily(FRI, 1005) + b"\r\n\r\n" + dump({"userId": "x"}) + b"\r\n"
    lake.put_file(FRI, "windows.jsonl", windows)
    broken = daily(SAT, 99999, durationInSeconds=90000, note="@").replace(b'"@"', b'"\xff\xfe broken \xe3\x81"')
    lake.put_file(SAT, "not-utf8.jsonl", b"\n".join([daily(SAT, 1006), b"\xff\xfe\x00", broken, b""]))
    # The whole file is one very long line.
    lake.put_file(SUN, "long.jsonl", daily(SUN, 1007, note="x" * 100_000, deep={"a": [{"b": [1, {"c": None}]}]}))


# --- worn time ---


def worn_time(lake: Lake) -> None:
    """Slots, minutes and hours at their edges."""
    user = lake.person("worn-heart-rate")

    def day(day: int, samples: Line, **fields: Any) -> None:
        lake.put("dailies", user, day, timeOffsetHeartRateSamples=samples, **fields)

    day(MON, beats(10))
    day(TUE, beats(10) | {str(10 * HOUR - 15): 0})
    # 40 minutes of one hour with a single slot each, 39 of the next; off the grid.
    minutes = [60 * m + 7 for m in range(40)] + [HOUR + 60 * m + 59 for m in range(39)]
    day(WED, {str(second): 70 for second in minutes} | {"8": 71, "14.9": 72})
    # A start and an offset that are no whole hour, or no whole minute: clock hours, not hours since start.
    day(THU, beats(2, step_s=60), at=30, offset=20700)
    day(FRI, beats(2, step_s=60), startTimeInSeconds=lake.utc(FRI) + 37)
    day(SAT, beats(2, step_s=60), at=30, startTimeOffsetInSeconds=DROP)
    # A day of 25 hours has 24 of the clock.
    day(SUN, beats(25, step_s=60), duration=90000)

    edges = lake.person("worn-minutes")
    ends = {str(at): 60 for at in (0, 0.5, 1, 60, 60.5, 61, 61.5, 3599, 3600)}
    lake.put("dailies", edges, MON, duration=3600, timeOffsetHeartRateSamples=ends)
    lake.put("dailies", edges, TUE, timeOffsetHeartRateSamples=beats(24, start_s=60, step_s=60))
    # Half of one hour, a minute less of the next; then half of an hour in two parts, of two dates.
    half = beats(0.5, start_s=60, step_s=60) | beats(29 / 60, start_s=HOUR + 60, step_s=60)
    lake.put("dailies", edges, WED, timeOffsetHeartRateSamples=half)
    parts = beats(0.25, start_s=60, step_s=60) | beats(0.25, start_s=24 * HOUR + 960, step_s=60)
    lake.put("dailies", edges, THU, duration=100000, timeOffsetHeartRateSamples=parts)
    same = beats(0.25, start_s=60, step_s=60) | beats(0.25, start_s=24 * HOUR + 60, step_s=60)
    lake.put("dailies", edges, FRI, duration=100000, timeOffsetHeartRateSamples=same)
    # It begins on the date before its own.
    lake.put("dailies", edges, SAT, at=-90, timeOffsetHeartRateSamples=beats(3, step_s=60))
    lake.put("dailies", edges, SUN, at=-0.5, offset=3630, timeOffsetHeartRateSamples=beats(3.25, step_s=60))

    stress = lake.person("worn-stress")
    levels: list[list[Any]] = [
        [-1] * 300,
        [30] * 199 + [-1],
        [-2] * 200,
        ["20", "-1", None, "abc", True, 0, -3, literal("NaN")],
        [],
        [literal("1e400"), "n/a"],
    ]
    for weekday, values in enumerate(levels):
        lake.put("stressDetails", stress, weekday, timeOffsetStressLevelValues=threes(values))
        lake.put("dailies", stress, weekday, averageStressLevel=-1, timeOffsetHeartRateSamples={"0": 0, "15": -1})
    for at in (0, 600):
        half = {
            "timeOffsetStressLevelValues": threes([25] * 100),
            "timeOffsetBodyBatteryValues": threes([0, -1, "50"]),
        }
        lake.put("stressDetails", stress, SUN, at=at, **half)


def outside_of_their_record(lake: Lake) -> None:
    """Samples before a record and after it, of every map; minutes of stress that are more than the record has."""
    user, lonely = lake.person("outside"), lake.person("outside-of-nothing")
    offsets: list[Any] = [-180, -0.5, 0, 1800, 3600, 3600.5, 3780, 90000]
    for day, duration in enumerate([3600, "3600", 0, DROP, None, -5, 3599.5]):
        for kind, fields in MAP_FIELDS.items():
            values = {str(at): 50 + 5 * n for n, at in enumerate(offsets)}
            samples = {field: values for field in fields if field != "sleepLevelsMap"}
            if kind == "dailies":
                samples |= dict(zip(STRESS_FIELDS, (3600, 3601, 3599, "7200"), strict=True))
            lake.put(kind, user, day, at=-30, durationInSeconds=duration, **samples)
    for day in range(7):
        outside = {"-180": 40, "7200": 40} if day else {"3600": 40}
        lake.put("stressDetails", lonely, day, duration=3600, timeOffsetStressLevelValues=outside)
        lake.put("dailies", lonely, day, duration=3600, timeOffsetHeartRateSamples={"-1": 60, "3601": 70})


def hours_of_steps(lake: Lake) -> None:
    """Epochs by local hour: null where nothing is known, 0 where nobody walked."""
    user = lake.person("epochs")
    for at, steps in ((0, 0), (60, None), (125, 5), (179, 6), (1425, 7), (200, -3), (1426, "8")):
        lake.put("epochs", user, MON, at=at, steps=steps)
    lake.put("epochs", user, TUE, steps=None)
    lake.put("epochs", user, WED, startTimeInSeconds=None, steps=5)
    lake.put("epochs", user, THU, offset=20700, at=59, steps=5)
    # calendarDate and clock disagree: the hour is the clock's.
    lake.put("epochs", user, FRI, at=-90, steps=9)
    lake.put("epochs", user, FRI, at=1440 + 90, steps=10)
    # No offset, no hour; nor has a start in milliseconds one.
    for number, offset in enumerate([DROP, None, "+09:00", True, "32400", 0]):
        lake.put("epochs", user, SAT, at=60 * number, startTimeOffsetInSeconds=offset, steps=2**number)
    lake.put("epochs", user, SUN, startTimeInSeconds=lake.utc(SUN) * 1000, steps=12)
    lake.put("epochs", user, SUN, startTimeInSeconds=-(10**12), steps=13)
    lake.put("epochs", user, SUN, at=61, steps=14)


# --- weeks ---


def weeks_of_intensity(lake: Lake) -> None:
    """The WHO bands at their edges, worn for all of the week or not."""
    for name, worn_days, moderate_min, vigorous_min in (
        ("below", 7, 149, 0),
        ("meets-low", 7, 150, 0),
        ("meets-high", 7, 100, 100),
        ("exceeds", 7, 301, 0),
        ("unknown", 6, 149, 0),
        ("meets-unworn", 0, 150, 0),
        ("vigorous-only", 7, None, 75),
        ("none", 7, None, None),
    ):
        user = lake.person(f"week-who-{name}")
        for day in range(worn_days):
            lake.worn(user, day)
        given = {"moderate": moderate_min, "vigorous": vigorous_min}
        seconds = {f"{k}IntensityDurationInSeconds": None if v is None else 60 * v for k, v in given.items()}
        lake.put("dailies", user, WED, **seconds)


def weeks_worn(lake: Lake) -> None:
    """Enough days or not, with a weekend day or not."""
    for name, days in {
        "no-weekend": range(5),
        "three-and-weekend": (MON, TUE, SAT),
        "just-valid": (MON, TUE, WED, SUN),
    }.items():
        user = lake.person(f"week-{name}")
        for day in days:
            lake.worn(user, day)
    user = lake.person("week-unworn")  # records but no worn day: means over valid days are null
    for day in range(7):
        seconds = {STRESS_FIELDS[0]: 60}
        lake.put("dailies", user, day, steps=5000, restingHeartRateInBeatsPerMinute=60, **seconds)


def weeks_of_resting_heart_rate(lake: Lake) -> None:
    """Slopes over two days, three days, level days and days without data; stress shares of nothing."""
    by_name: dict[str, dict[int, float]] = {
        "two": {MON: 60, SUN: 70},
        "three": {TUE: 60, WED: 61, SUN: 59.5},
        "level": dict.fromkeys(range(7), 55),
        "zeros": {MON: 0, TUE: 60, WED: 61, THU: -1},
    }
    for name, resting in by_name.items():
        user = lake.person(f"week-slope-{name}")
        for day, bpm in resting.items():
            lake.worn(user, day)
            stress = dict.fromkeys(STRESS_FIELDS, 0)
            lake.put("dailies", user, day, restingHeartRateInBeatsPerMinute=bpm, **stress)


def weeks_of_midsleep(lake: Lake) -> None:
    """Circular statistics where the clock wraps, where nights are alike, and of too few nights."""
    by_name: dict[str, dict[int, int]] = {
        "identical": dict.fromkeys(range(7), -37),
        "across-midnight": {MON: -210, TUE: -230, WED: -190, THU: -240},
        "jetlag-wraps": {MON: -900, TUE: -895, SAT: 480, SUN: 490},
        "one": {WED: 30},
        "two": {WED: 30, THU: 31},
        "weekend-only": {SAT: 30, SUN: 90},
        "negative-start": {MON: 0, TUE: 20},
    }
    for name, starts in by_name.items():
        user = lake.person(f"week-midsleep-{name}")
        for day, at in starts.items():
            odd = {"startTimeInSeconds": -1000} if name == "negative-start" and day == MON else {}
            lake.sleep(user, day, at, 7 if name == "identical" else 6.5 + day / 4, **odd)
            lake.put("hrv", user, day, lastNightAvg=0 if day == MON else 50.5)


def weeks_of_rhythm(lake: Lake) -> None:
    """About as many hours of steps as the rhythm takes, of each of the clock or not; three or four pairs of nights."""
    chance = random.Random(24)
    for name, hours in {
        "119": range(119),
        "120": range(120),
        "uneven": [hour for hour in range(168) if chance.random() < 0.85],
        "seldom-2-and-3": [hour for hour in range(168) if hour % 24 not in (2, 3) or hour > 130],
        "never-3": [hour for hour in range(168) if hour % 24 != 3],
        "level": range(24, 168),
        "square": [hour for hour in range(168) if hour < 125 or hour % 24 > 12],
    }.items():
        user = lake.person(f"week-rhythm-{name}")
        for hour in hours:
            steps: float = chance.choice((0, 0, 5, 80, 900, 41.5))
            if name in ("level", "square"):
                steps = 7 if name == "level" else 300 * (hour % 24 > 11)
            lake.put("epochs", user, hour // 24, at=60 * (hour % 24), duration=900, steps=steps)
    for name, days in {
        "3-pairs": (MON, TUE, THU, FRI, SAT),
        "4-pairs": (MON, TUE, THU, FRI, SAT, SUN),
    }.items():
        user = lake.person(f"week-nights-{name}")
        for day in days:
            at = chance.randrange(-120, 200)
            levels = levels_of(chance, lake.utc(day, at), 7 * HOUR)
            lake.sleep(user, day, at, 7, awakeDurationInSeconds=600, sleepLevelsMap=levels)


def weeks_at_the_edge(lake: Lake) -> None:
    """Neither the Sunday before nor the Monday after is of the week; a week may hold nothing known."""
    lake.put("somethingNew", lake.person("week-only-unknown"), MON)
    lake.put("somethingNew", lake.person("week-only-before"), -1)
    user = lake.person("week-edges")
    for day in (-1, MON, SUN, 7):
        lake.worn(user, day)
        lake.put("dailies", user, day, steps=1000 + day)
        lake.put("userMetrics", user, day, vo2Max=40 + day if day != SUN else 0, fitnessAge=DROP)


TRAPS = (
    ordinary,
    drifted_numbers,
    drifted_samples,
    drifted_times,
    levels_of_sleep,
    odd_text,
    versions,
    versions_by_type,
    deliveries,
    nights,
    dates_of_waking,
    keys,
    travel,
    two_accounts,
    naps,
    exercise,
    misfiled,
    strangers,
    odd_files,
    worn_time,
    outside_of_their_record,
    hours_of_steps,
    weeks_of_intensity,
    weeks_worn,
    weeks_of_resting_heart_rate,
    weeks_of_midsleep,
    weeks_of_rhythm,
    weeks_at_the_edge,
)
