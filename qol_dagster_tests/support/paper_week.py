"""One participant's week small enough to be worked out with paper and pencil.

`write_paper_week` writes the raw lines; `EXPECTED` says what the weekly row must be, each value as the
arithmetic that leads to it from the numbers chosen here. Nothing in this module reads a record to say so.

The week (2025-11-03 is a Monday; the device shows Japan time, +9 h):

    day  worn                             bpm                   steps resting  sleep, asleep/in bed (min)  mid
    Mon  12 h from 06:00                  6 h of 60, 6 h of 80   8000      58  23:00-07:00   450/480       180
    Tue  14 h from 08:00                  72                    10000      59  by hand only    -
    Wed  9 h from 08:00, 30 and 2x15 min  66                     6000      60  23:30-06:30   400/420       180
    Thu  5 h from 09:00 (not valid)       100                    1500      80  00:00-06:00   330/360       180
    Fri  16 h from 06:00                  12 h of 70, 4 h of 90 12000      63  00:30-05:30   300/300       180
    Sat  12 h from 09:00                  68                     9000       -  01:00-09:00   432/480       300
    Sun  20 h from 02:00                  64                     5000      61  02:00-08:00   300/324       300

On Monday to Friday the epochs have 110 steps in each hour from 8 to 17 and 10 in any other, on Saturday 110 from 10
to 19; Tuesday's 5 o'clock is missing. On Saturday the sleeper is awake from 03:00 to 03:48.

Tuesday's sleep was entered by hand, so it is no main sleep. The durations received of Monday's and of Wednesday's
sleep are more than the time asleep: Monday's has the 10 minutes that could not be measured in it, Wednesday's the 20
awake; the stages tell. Nobody says how long Friday's sleeper lay awake. Sunday's in-bed time leaves 36 minutes open,
but its levels last until 08:00, and that is where it ends.
"""

import hashlib
import json
import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

MONDAY = date(2025, 11, 3)
USER = "paper-garmin-user"
PARTICIPANT = "P001"
OFFSET = 9 * 3600
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)

Line = dict[str, Any]


# --- the raw lines ---


def utc(day: int, minute: float = 0) -> int:
    """UTC seconds of a local minute of a day of the week; minutes before midnight are negative."""
    midnight = datetime.combine(MONDAY + timedelta(days=day), datetime.min.time(), UTC)
    return int(midnight.timestamp() - OFFSET + 60 * minute)


def line(kind: str, day: int, start_min: float, duration_min: float, lag_h: float = 1, **fields: Any) -> Line:
    """A record that is received `lag_h` hours after its end."""
    start, duration = utc(day, start_min), int(60 * duration_min)
    received = datetime.fromtimestamp(start + duration + 3600 * lag_h, UTC)
    return {
        "_summary_type": kind,
        "_received_at": received.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "userId": USER,
        "summaryId": f"{kind}-{start}-{duration}",
        "calendarDate": (MONDAY + timedelta(days=day)).isoformat(),
        "startTimeInSeconds": start,
        "startTimeOffsetInSeconds": OFFSET,
        "durationInSeconds": duration,
    } | fields


def run(from_hour: float, hours: float, bpm: int) -> dict[str, int]:
    """A heart rate for every 15 seconds of some hours, each at the end of its own: 240 an hour."""
    first = int(from_hour * 3600) + 15
    return {str(offset): bpm for offset in range(first, first + int(hours * 3600), 15)}


def every_3_min(*values: int) -> dict[str, int]:
    """Samples of a stress record from its start on."""
    return {str(180 * i): value for i, value in enumerate(values)}


def daily(day: int, lag_h: float, beats: dict[str, int], **fields: Any) -> Line:
    """A full day's summary."""
    # The received average is the last seven days'; it must not be read as the day's.
    beats_fields = {"timeOffsetHeartRateSamples": beats, "averageHeartRateInBeatsPerMinute": 111}
    return line("dailies", day, 0, 1440, lag_h, **beats_fields, **fields)


def sleep(day: int, start_min: float, duration_min: float, **fields: Any) -> Line:
    """A sleep the device has seen; fields are as received, in seconds."""
    return line("sleeps", day, start_min, duration_min, **({"validation": "ENHANCED_FINAL"} | fields))


def stages(deep: float, light: float, rem: float) -> Line:
    """Sleep stages from minutes."""
    return {
        "deepSleepDurationInSeconds": int(60 * deep),
        "lightSleepDurationInSeconds": int(60 * light),
        "remSleepInSeconds": int(60 * rem),
    }


def stress_time(rest: int, low: int, medium: int, high: int) -> Line:
    """Minutes of each stress level, as the seconds that are received."""
    return {
        "restStressDurationInSeconds": 60 * rest,
        "lowStressDurationInSeconds": 60 * low,
        "mediumStressDurationInSeconds": 60 * medium,
        "highStressDurationInSeconds": 60 * high,
    }


def battery(charged: int, drained: int) -> Line:
    """Body Battery points of a daily."""
    return {"bodyBatteryChargedValue": charged, "bodyBatteryDrainedValue": drained}


def intensity(moderate_min: int | None, vigorous_min: int | None) -> Line:
    """Intensity minutes, as the seconds that are received; None is left out."""
    given = {"moderate": moderate_min, "vigorous": vigorous_min}
    return {f"{k}IntensityDurationInSeconds": 60 * v for k, v in given.items() if v is not None}


def dailies() -> list[Line]:
    """Seven full days, and a part of Monday that the full one supersedes."""
    return [
        line("dailies", MON, 0, 720, 0.5, steps=3000, restingHeartRateInBeatsPerMinute=70),
        daily(
            MON,
            1,
            run(6, 6, 60) | run(12, 6, 80),
            steps=8000,
            distanceInMeters=6000.5,
            floorsClimbed=10,
            activeKilocalories=400,
            activeTimeInSeconds=3600,
            restingHeartRateInBeatsPerMinute=58,
            averageStressLevel=30,
            **stress_time(200, 100, 60, 40),
            **battery(60, 50),
            **intensity(30, 10),
        ),
        daily(
            TUE,
            2,
            run(8, 14, 72),
            steps=10000,
            distanceInMeters=8000,
            floorsClimbed=12,
            activeKilocalories=500,
            activeTimeInSeconds=5400,
            restingHeartRateInBeatsPerMinute=59,
            averageStressLevel=40,
            **stress_time(100, 150, 90, 60),
            **battery(50, 60),
            **intensity(20, 0),
        ),
        daily(
            WED,
            3,
            run(8, 9, 66) | run(18.5, 0.5, 66) | run(21, 0.25, 66) | run(22, 0.25, 66),
            steps=6000,
            distanceInMeters=4500,
            floorsClimbed=4,
            activeKilocalories=300,
            restingHeartRateInBeatsPerMinute=60,
            averageStressLevel=-1,
            **stress_time(100, 50, 0, 0),
            **battery(40, 40),
            **intensity(None, 5),
        ),
        daily(
            THU,
            4,
            run(9, 5, 100),
            steps=1500,
            distanceInMeters=1000,
            floorsClimbed=1,
            activeKilocalories=50,
            activeTimeInSeconds=600,
            restingHeartRateInBeatsPerMinute=80,
            averageStressLevel=90,
            **stress_time(1, 1, 1, 300),
            **battery(5, 5),
            **intensity(10, None),
        ),
        daily(
            FRI,
            6,
            run(6, 12, 70) | run(18, 4, 90),
            steps=12000,
            distanceInMeters=9500,
            floorsClimbed=14,
            activeKilocalories=700,
            activeTimeInSeconds=7200,
            restingHeartRateInBeatsPerMinute=63,
            averageStressLevel=20,
            **stress_time(150, 50, 50, 0),
            **battery(70, 65),
            **intensity(40, 20),
        ),
        daily(
            SAT,
            8,
            run(9, 12, 68),
            steps=9000,
            distanceInMeters=7000,
            activeKilocalories=450,
            activeTimeInSeconds=3600,
            averageStressLevel=25,
            **battery(80, 85),
            **intensity(25, 0),
        ),
        daily(
            SUN,
            30,
            run(2, 20, 64),
            steps=5000,
            distanceInMeters=4000,
            floorsClimbed=5,
            activeKilocalories=350,
            activeTimeInSeconds=2700,
            restingHeartRateInBeatsPerMinute=61,
            **intensity(5, 0),
        ),
    ]


def nights() -> list[Line]:
    """Six main sleeps, two begun before midnight; Tuesday's is by hand and the longest of all."""
    levels = {"light": [{"startTimeInSeconds": utc(SUN, 120), "endTimeInSeconds": utc(SUN, 480)}]}
    awake = {
        "awake": [{"startTimeInSeconds": utc(SAT, 180), "endTimeInSeconds": utc(SAT, 228)}],
        "light": [
            {"startTimeInSeconds": utc(SAT, 60), "endTimeInSeconds": utc(SAT, 180)},
            {"startTimeInSeconds": utc(SAT, 228), "endTimeInSeconds": utc(SAT, 540)},
        ],
    }
    return [
        sleep(
            MON,
            -60,
            460,
            awakeDurationInSeconds=20 * 60,
            unmeasurableSleepInSeconds=10 * 60,
            timeOffsetSleepSpo2={"0": 96, "60": 94, "120": 88, "180": 0},
            timeOffsetSleepRespiration={"0": 14.0, "60": 16.0},
            **stages(90, 270, 90),
        ),
        sleep(TUE, -60, 600, validation="Manual", timeOffsetSleepRespiration={"0": 30.0}),
        sleep(
            WED,
            -30,
            420,
            awakeDurationInSeconds=20 * 60,
            timeOffsetSleepSpo2={"0": 97, "60": 95},
            timeOffsetSleepRespiration={"0": 13.0, "60": -1.0},
            **stages(100, 200, 100),
        ),
        sleep(
            THU,
            0,
            330,
            awakeDurationInSeconds=30 * 60,
            timeOffsetSleepSpo2={"0": 70},
            timeOffsetSleepRespiration={"0": 20.0},
            **stages(66, 165, 99),
        ),
        sleep(FRI, 30, 300),
        sleep(SAT, 60, 432, awakeDurationInSeconds=48 * 60, sleepLevelsMap=awake, **stages(108, 216, 108)),
        sleep(SUN, 120, 300, awakeDurationInSeconds=24 * 60, sleepLevelsMap=levels, **stages(30, 195, 75)),
    ]


def others() -> list[Line]:
    """Stress, hrv, pulse-ox, breathing, fitness and activities."""

    def stress(day: int, levels: dict[str, int], batteries: dict[str, int]) -> Line:
        samples: Line = {"timeOffsetStressLevelValues": levels, "timeOffsetBodyBatteryValues": batteries}
        return line("stressDetails", day, 0, 1440, **samples)

    return [
        stress(MON, every_3_min(25, 35), every_3_min(20, 80, 50)),
        stress(TUE, every_3_min(40), every_3_min(30, 90)),
        stress(WED, every_3_min(20, -2, -1, 40), every_3_min(-1, 10, 70)),
        stress(THU, every_3_min(90), every_3_min(5, 99)),
        line("hrv", MON, -60, 480, lastNightAvg=40),
        line("hrv", WED, -30, 420, lastNightAvg=50),
        line("hrv", THU, 0, 360, lastNightAvg=60),
        line("pulseox", TUE, 0, 1440, onDemand=False, timeOffsetSpo2Values={"0": 98, "3600": 92}),
        line("pulseox", TUE, 600, 1, onDemand=True, timeOffsetSpo2Values={"0": 80}),
        line("allDayRespiration", MON, 0, 720, timeOffsetEpochToBreaths={"0": 12.0, "60": -2.0}),
        line("allDayRespiration", MON, 720, 720, timeOffsetEpochToBreaths={"0": 15.0, "60": 18.0}),
        line("allDayRespiration", SAT, 0, 1440, timeOffsetEpochToBreaths={"0": 17.0}),
        line("userMetrics", TUE, 0, 1440, vo2Max=42.0, fitnessAge=35),
        line("userMetrics", SAT, 0, 1440, vo2Max=43.0),
        line("activities", TUE, 1080, 45, activityType="RUNNING"),
        line("activities", SAT, 540, 90, activityType="MULTI_SPORT", isParent=True),
        line("activities", SAT, 541, 50, activityType="CYCLING"),
        line("manuallyUpdatedActivities", SAT, 595, 35, activityType="RUNNING"),
    ]


def epochs() -> list[Line]:
    """Steps of 143 hours."""
    hours = [(day, hour) for day in range(MON, SUN) for hour in range(24) if (day, hour) != (TUE, 5)]

    def steps(day: int, hour: int) -> int:
        first = 10 if day == SAT else 8
        return 110 if first <= hour < first + 10 else 10

    return [line("epochs", d, 60 * h, 15, activityType="WALKING", steps=steps(d, h)) for d, h in hours]


def write_paper_week(lake_dir: Path) -> tuple[dict[str, str], date]:
    """Write the raw lines below `lake_dir`; gives userId -> participant_id, and the Monday."""
    for received in [*dailies(), *nights(), *others(), *epochs()]:
        ingest_id = hashlib.sha256(json.dumps(received, sort_keys=True).encode()).hexdigest()
        directory = lake_dir / "raw" / "daily" / f"date={received['calendarDate']}"
        directory.mkdir(parents=True, exist_ok=True)
        record = received | {"_ingest_id": ingest_id}
        (directory / f"{ingest_id}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return {USER: PARTICIPANT}, MONDAY


# --- the weekly row, on paper ---

FULL_TURN = 2 * math.pi
VALID_WEAR_H = 12 + 14 + 10 + 16 + 12 + 20  # Mon Tue Wed Fri Sat Sun; Thursday's 5 h are too few

# Minutes with another state 24 h later: Wed-Thu 23:30-24:00 and 06:00-06:30; Thu-Fri 00:00-00:30 and 05:30-06:00;
# Fri-Sat 00:30-01:00, 03:00-03:48 and 05:30-09:00; Sat-Sun 01:00-02:00, 03:00-03:48 and 08:00-09:00.
OTHER_STATE_MIN = (30 + 30) + (30 + 30) + (30 + 48 + 210) + (60 + 48 + 60)
# Ten steps in every hour and a hundred more in 60 of the 143: the sum of squares is 100² x 60 x 83 / 143.
SPREAD, CENTRE = 100**2 * 60 * 83 / 143, 100 * 60 / 143
# Of the hundred more, 8 and 9 o'clock have five sixths on average, 18 and 19 one sixth, 10 to 17 all; the other hours,
# seen six times but for 5 o'clock's five, have none.
MORE_STEPS = 12 * (500 / 6 - CENTRE) ** 2 + 48 * (100 - CENTRE) ** 2 + 12 * (100 / 6 - CENTRE) ** 2 + 71 * CENTRE**2
MOST = 10 + (2 * 500 / 6 + 8 * 100) / 10  # from 8 to 18 o'clock
REGULARITY: dict[str, float | None] = {
    "sleep_regularity_index": -100 + 200 * (4 * 1440 - OTHER_STATE_MIN) / (4 * 1440),
    "n_sleep_pairs": 4,
    "interdaily_stability": MORE_STEPS / SPREAD,
    # Up and down on six days; 143 steps from hour to hour, less the two that need Tuesday's 5 o'clock.
    "intradaily_variability": 143 * 12 * 100**2 / (141 * SPREAD),
    "relative_amplitude": (MOST - 10) / (MOST + 10),
    "n_step_hours": 143,
    # Four weeks take 14 pairs and 336 hours, and there is but one of them.
    "sleep_regularity_index_28d": None,
    "n_sleep_pairs_28d": 4,
    "interdaily_stability_28d": None,
    "intradaily_variability_28d": None,
    "relative_amplitude_28d": None,
    "n_step_hours_28d": 143,
}

EXPECTED: dict[str, object] = {
    "participant_id": PARTICIPANT,
    "date": MONDAY,
    "n_days": 7,
    "n_valid_days": 6,
    "n_valid_weekend_days": 2,
    "is_valid_week": True,
    # Wednesday's half hour is enough for its hour, and the two quarters are not: 10 valid hours, and 10 h worn.
    "yield_hours": (12 + 14 + (9 + 1) + 5 + 16 + 12 + 20) / 168,
    "completeness_dailies": 7 / 7,
    "completeness_sleeps": 7 / 7,  # the sleep entered by hand is a record too
    "completeness_stress": 4 / 7,
    "completeness_hrv": 3 / 7,
    "wear_min_mean": 60 * (12 + 14 + 10 + 5 + 16 + 12 + 20) / 7,
    "n_wear_days": 7,
    "sync_lag_h_median": 4,  # of 1 2 3 4 6 8 30
    # Steps of the six valid days; in thousands 8 10 6 12 9 5, squares 64+100+36+144+81+25 = 450, sum 50.
    "steps_mean": (8000 + 10000 + 6000 + 12000 + 9000 + 5000) / 6,
    "steps_median": (8000 + 9000) / 2,
    "steps_sd": 1000 * math.sqrt((450 - 50**2 / 6) / 5),
    "steps_sum": 50000,
    "n_steps_days": 6,
    "steps_per_wear_h": 50000 / VALID_WEAR_H,
    "distance_m_mean": (6000.5 + 8000 + 4500 + 9500 + 7000 + 4000) / 6,
    "floors_mean": (10 + 12 + 4 + 14 + 5) / 5,  # none received on Saturday
    "active_kcal_mean": (400 + 500 + 300 + 700 + 450 + 350) / 6,
    "active_min_mean": (60 + 90 + 120 + 60 + 45) / 5,  # none received on Wednesday
    # Intensity counts on Thursday too.
    "moderate_min_sum": 30 + 20 + 10 + 40 + 25 + 5,
    "vigorous_min_sum": 10 + 0 + 5 + 20 + 0 + 0,
    "mvpa_equiv_min": 130 + 2 * 35,
    "who_activity": "meets",  # 150 <= 200 <= 300
    # Resting: days 0 1 2 4 6 with 58 59 60 63 61; their means are 13/5 = 2.6 and 301/5 = 60.2.
    # Sum of products 0 + 59 + 120 + 252 + 366 = 797, less 13*301/5 = 782.6;
    # sum of squared days 0 + 1 + 4 + 16 + 36 = 57, less 13*13/5 = 33.8.
    "resting_hr_mean": 301 / 5,
    "resting_hr_slope": (797 - 782.6) / (57 - 33.8),
    "n_resting_hr_days": 5,
    # Monday (60 + 80) / 2 = 70, Friday (12*70 + 4*90) / 16 = 75.
    "hr_mean": (70 + 72 + 66 + 75 + 68 + 64) / 6,
    "n_hr_days": 6,
    # Three nights of 40, 50, 60 ms, Thursday's too: deviations -10, 0, 10, so the SD is sqrt(200 / 2) = 10.
    "hrv_rmssd_mean": 50,
    "hrv_ln_rmssd_mean": math.log(40 * 50 * 60) / 3,
    "hrv_cv_pct": 100 * 10 / 50,
    "n_hrv_nights": 3,
    # Wednesday's -1 gives way to its samples (20 + 40) / 2 = 30; Sunday has neither.
    "stress_mean": (30 + 40 + 30 + 20 + 25) / 5,
    "n_stress_days": 5,
    # rest 200+100+100+150 = 550, low 100+150+50+50 = 350, medium 60+90+0+50 = 200, high 40+60+0+0 = 100.
    "stress_high_pct": 100 * 100 / (550 + 350 + 200 + 100),
    "stress_rest_pct": 100 * 550 / (550 + 350 + 200 + 100),
    # Samples on Monday, Tuesday, Wednesday (Thursday is no valid day); -1 is no data.
    "body_battery_max_mean": (80 + 90 + 70) / 3,
    "body_battery_min_mean": (20 + 30 + 10) / 3,
    "body_battery_charged_mean": (60 + 50 + 40 + 70 + 80) / 5,
    "body_battery_drained_mean": (50 + 60 + 40 + 65 + 85) / 5,
    # Six nights. Asleep, in minutes: 450 400 330 300 432 300, sum 2212, mean 368 2/3.
    "n_nights": 6,
    "sleep_tst_h_mean": 2212 / 6 / 60,
    # Their squares 202500, 160000, 108900, 90000, 186624, 90000 make 838024.
    "sleep_tst_h_sd": math.sqrt((838024 - 2212**2 / 6) / 5) / 60,
    "sleep_tib_h_mean": (480 + 420 + 360 + 300 + 480 + 324) / 6 / 60,
    # Friday has no awake time, not none of it, so its efficiency is unknown too.
    "sleep_efficiency_mean": 100 * (450 / 480 + 400 / 420 + 330 / 360 + 432 / 480 + 300 / 324) / 5,
    "sleep_waso_min_mean": (20 + 20 + 30 + 48 + 24) / 5,
    # Stages: 90/450 100/400 66/330 - 108/432 30/300, and so on; Friday has none.
    "sleep_deep_pct_mean": (20 + 25 + 20 + 25 + 10) / 5,
    "sleep_light_pct_mean": (60 + 50 + 50 + 50 + 65) / 5,
    "sleep_rem_pct_mean": (20 + 25 + 30 + 25 + 25) / 5,
    # Midsleeps: four at 180 and two at 300 min, which is 30 degrees further. With the four at angle 0 the
    # resultant is east 4 + 2 cos 30 = 4 + sqrt 3, north 2 sin 30 = 1.
    "midsleep_mean_min": 180 + math.atan2(1, 4 + math.sqrt(3)) * 1440 / FULL_TURN,
    "midsleep_sd_min": math.sqrt(-2 * math.log(math.hypot(1, 4 + math.sqrt(3)) / 6)) * 1440 / FULL_TURN,
    "n_midsleep_nights": 6,
    "social_jetlag_min": 300 - 180,
    "nights_ge7h_pct": 100 * 2 / 6,  # 450 and 432
    # Monday asleep (96 + 94 + 88) / 3, Tuesday without a sleep (98 + 92) / 2, Wednesday (97 + 95) / 2, and Thursday
    # 70: its day was hardly worn, but its night was.
    "spo2_mean": (278 / 3 + 95 + 96 + 70) / 4,
    "n_spo2_days": 4,
    "spo2_lt90_pct_mean": (100 / 3 + 0 + 0 + 100) / 4,
    "resp_sleep_mean": (15 + 13 + 20) / 3,  # Monday (14 + 16) / 2; Tuesday's is by hand
    "n_resp_sleep_days": 3,
    "resp_day_mean": (15 + 17) / 2,  # Monday's two records: (12 + 15 + 18) / 3
    "n_resp_day_days": 2,
    **REGULARITY,
    "vo2max_last": 43,
    "fitness_age_last": 35,  # Saturday's record has none
    # Tuesday 45 min; Saturday 50 + 35 min, their multisport parent left out; 0 on the other days.
    "exercise_sessions_sum": 1 + 2,
    "exercise_min_sum": 45 + 50 + 35,
    # 7 dailies (Monday's part is superseded), 7 sleeps, 4 stress, 3 hrv, 2 pulse-ox, 3 breathing, 2 fitness,
    # 4 activities and 143 epochs.
    "n_records": 7 + 7 + 4 + 3 + 2 + 3 + 2 + 4 + 143,
    # Sunday's daily ends at Monday 00:00 in Japan, Sunday 15:00 UTC, and is received 30 h later.
    "last_received_at": datetime(2025, 11, 10, 21, 0, tzinfo=UTC),
}
