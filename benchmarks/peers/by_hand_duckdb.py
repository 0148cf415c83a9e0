"""Peer (a): the tables in SQL written by hand for DuckDB, in one pass over the lines.

Any field may be of another type than documented, so it is read as text first. What became of each line is not kept.
"""

from __future__ import annotations

import json

import duckdb

from benchmarks.peers.garmin_fields import AMOUNTS, FLAGS, TEXTS, TIMES, TYPES
from benchmarks.peers.program import Work, run_peer

SAMPLES = {
    "timeOffsetHeartRateSamples": "INTEGER",
    "timeOffsetStressLevelValues": "INTEGER",
    "timeOffsetBodyBatteryValues": "INTEGER",
    "timeOffsetSleepSpo2": "INTEGER",
    "timeOffsetSleepRespiration": "DOUBLE",
    "timeOffsetSpo2Values": "INTEGER",
    "timeOffsetEpochToBreaths": "DOUBLE",
}
STRUCTURE = {
    **dict.fromkeys([*TEXTS, *TIMES, *AMOUNTS, *FLAGS], "VARCHAR"),
    **dict.fromkeys([*SAMPLES, "sleepLevelsMap"], "JSON"),
    "summary": {"startTimeInSeconds": "VARCHAR"},
}
SPAN = {"startTimeInSeconds": "DOUBLE", "endTimeInSeconds": "DOUBLE"}
STAGES = json.dumps({stage: [SPAN] for stage in ("deep", "light", "rem", "awake")})


def in_turn(field: str, type_: str) -> str:
    """Return the offsets and values of a map as one list: the same text is parsed in a third of the time as an array."""
    array = f"""replace('[' || substr({field}, 2, strlen({field}) - 2) || ']', '":', '",')"""
    return f"""TRY(from_json(CASE WHEN {field} LIKE '{{"%' THEN {array} END, '["{type_}"]'))"""


def amount(field: str) -> str:
    """Return a number that is not negative."""
    return f"CASE WHEN TRY_CAST({field} AS DOUBLE) BETWEEN 0 AND 1e15 THEN {field}::DOUBLE END"


def typed() -> str:
    """Return each field as what it is: any may come as text, or as what cannot be read and is null."""
    fields = {
        **{name: name for name in TEXTS},
        **{name: f"TRY_CAST({name} AS DOUBLE)" for name in TIMES},
        **{name: amount(name) for name in AMOUNTS},
        "averageStressLevel": f"coalesce({amount('averageStressLevel')}, {amount('misspelt')})",
        **{name: f"lower(coalesce({name}, '')) IN ('true', '1')" for name in FLAGS},
        **{name: in_turn(f"{name}::VARCHAR", type_) for name, type_ in SAMPLES.items()},
        "_received_at": "TRY_CAST(_received_at AS TIMESTAMP)",
        "type": f"coalesce(MAP {TYPES}[_summary_type], _summary_type)",
        "nested": "TRY_CAST(summary.startTimeInSeconds AS DOUBLE)",
    }
    return ", ".join(f"{value} AS {name}" for name, value in fields.items())


# Lines of one key are versions of each other. That of an epoch has its delivery, for one replaces all of the other.
KEY = """
date, userId, type, CASE WHEN type = 'pulseox' THEN onDemand END, CASE WHEN type = 'epochs' THEN activityType END,
CASE WHEN type = 'epochs' THEN body END, CASE WHEN type <> 'userMetrics' AND identity IS NULL THEN moment END,
CASE WHEN type <> 'userMetrics' THEN coalesce(identity, CASE WHEN moment IS NULL THEN summaryId END) END
"""
SLICE = "date, userId, moment, CASE WHEN moment IS NULL THEN summaryId END"
PEOPLE = """
CREATE OR REPLACE TEMP TABLE people AS
SELECT user_id AS userId, participant_id, dense_rank() OVER (ORDER BY participant_id) * 1000000 AS person
FROM read_csv($people, all_varchar = true)
"""
LARGEST_FILE = 64_000_000
"""A file is read in parts of twice this size, and after a join their lines are in no order."""
READ = f"""
CREATE OR REPLACE TEMP TABLE lines AS
SELECT *, hash({KEY}) AS key FROM (
    SELECT lines.* EXCLUDE (nested, measurementTimeInSeconds, startTimeInSeconds, _summary_type, _ingest_id),
           _ingest_id AS body, coalesce(startTimeInSeconds, measurementTimeInSeconds, nested) AS moment,
           CASE WHEN startTimeInSeconds + coalesce(startTimeOffsetInSeconds, 0) BETWEEN -2208988800 AND 253402300799
                THEN startTimeInSeconds END AS start,
           CASE WHEN type = 'activities' THEN nullif(summaryId, '') END AS identity,
           person + (date - DATE '1970-01-01') AS day, epoch(date::TIMESTAMP) AS midnight
    FROM (
        SELECT date, {typed()}, sleepLevelsMap
        FROM (
            SELECT date, unnest(json_transform(json, '{json.dumps(STRUCTURE)}')),
                   CASE WHEN contains(json, 'averageStresslevel') THEN json->>'averageStresslevel' END AS misspelt
            FROM read_json_objects($raw, format = 'newline_delimited', ignore_errors = true, hive_partitioning = true,
                                   maximum_object_size = {LARGEST_FILE})
        )
    ) AS lines
    JOIN people USING (userId)
)
"""

GROWING = "type IN ('dailies', 'epochs', 'stressDetails', 'pulseox', 'allDayRespiration', 'hrv')"
WORD = "upper(trim(coalesce(validation, '')))"
FINALITY = f"""CASE {WORD} WHEN 'AUTO_MANUAL' THEN 4 WHEN 'ENHANCED_FINAL' THEN 3 WHEN 'ENHANCED_TENTATIVE' THEN 1
               WHEN 'AUTO_TENTATIVE' THEN 0 ELSE 2 END"""
# Hardly a line has another version: only those whose keys may be the same are ranked.
SUPERSEDED = f"""
CREATE OR REPLACE TEMP TABLE superseded AS
SELECT row FROM (
    SELECT rowid AS row, *, max(durationInSeconds) OVER (PARTITION BY {KEY}) AS longest FROM lines
    WHERE key IN (SELECT key FROM lines GROUP BY key HAVING count(*) > 1)
)
QUALIFY row_number() OVER (
    PARTITION BY {KEY}
    ORDER BY CASE WHEN type = 'sleeps' THEN {FINALITY} END DESC,
             CASE WHEN {GROWING} THEN coalesce(durationInSeconds, longest) END DESC, _received_at DESC,
             CASE WHEN type = 'sleeps' THEN durationInSeconds END DESC, body DESC, row DESC) > 1;
INSERT INTO superseded
WITH epochs AS (SELECT rowid AS row, hash({SLICE}) AS slice, * FROM lines WHERE type = 'epochs'
), contested AS (
    SELECT *, coalesce(durationInSeconds, max(durationInSeconds) OVER (PARTITION BY {SLICE})) AS length
    FROM epochs WHERE slice IN (SELECT slice FROM epochs GROUP BY slice HAVING min(body) <> max(body))
)
SELECT unnest(rows) FROM (SELECT {SLICE} AS summaryId, body, list(row) AS rows, max(length) AS length, max(_received_at) AS received
                          FROM contested GROUP BY ALL)
QUALIFY row_number() OVER (PARTITION BY {SLICE} ORDER BY length DESC, received DESC, body DESC) > 1
"""
NEWEST = "_received_at DESC, body DESC, rowid DESC"


def samples(source: str, field: str, *, length: str = "durationInSeconds", extra: str = "day") -> str:
    """Return the samples of a map that are within its record, one a row: t, v, and some columns of the record."""
    return f"""
        SELECT * FROM (SELECT {extra}, coalesce({length}, 1e15) AS length, unnest({field}[1:-1:2]) AS t,
                              unnest({field}[2:-1:2]) AS v FROM {source}) WHERE v IS NOT NULL AND t >= 0 AND t <= length"""


# Of several accounts of a participant the one that was worn longest counts, on each date.
ACCOUNTS = f"""
CREATE OR REPLACE TEMP TABLE contested AS
WITH days AS (SELECT day FROM lines GROUP BY day HAVING min(userId) <> max(userId))
SELECT rowid AS row, * FROM lines WHERE day IN (FROM days) AND rowid NOT IN (FROM superseded);
CREATE OR REPLACE TEMP TABLE others AS
WITH dailies AS (
    SELECT * FROM contested WHERE type = 'dailies'
    QUALIFY row_number() OVER (PARTITION BY day, userId ORDER BY durationInSeconds DESC, {NEWEST.replace("rowid", "row")}) = 1
), beats AS (
    SELECT day, userId, count(DISTINCT greatest(t - 1, 0) // 60) AS wear
    FROM ({samples("dailies", "timeOffsetHeartRateSamples", extra="day, userId")}) WHERE v > 0 GROUP BY ALL
), stress AS (
    SELECT day, userId, 3 * count(*) FILTER (v <> -1) AS wear
    FROM ({samples("(FROM contested WHERE type = 'stressDetails')", "timeOffsetStressLevelValues", extra="day, userId")})
    GROUP BY ALL
)
SELECT day, userId FROM (SELECT day, userId, max(_received_at) AS received FROM contested GROUP BY ALL)
LEFT JOIN beats USING (day, userId) LEFT JOIN stress USING (day, userId)
QUALIFY row_number() OVER (PARTITION BY day ORDER BY coalesce(beats.wear, stress.wear, -1) DESC, received DESC, userId DESC) > 1;
DELETE FROM lines WHERE (day, userId) IN (FROM others)
"""
# Each field of userMetrics is the latest that any version has: so they are asked before the older versions go.
CURRENT = f"""
CREATE OR REPLACE TEMP TABLE fitness AS
SELECT day, first(nullif(vo2Max, 0) ORDER BY {NEWEST}) FILTER (vo2Max > 0) AS vo2max,
       first(fitnessAge ORDER BY {NEWEST}) FILTER (fitnessAge > 0) AS fitness_age
FROM lines WHERE type = 'userMetrics' GROUP BY day;
DELETE FROM lines WHERE rowid IN (FROM superseded);
CREATE OR REPLACE TEMP TABLE dailies AS
SELECT * FROM lines WHERE type = 'dailies'
QUALIFY row_number() OVER (PARTITION BY day ORDER BY durationInSeconds DESC, {NEWEST}) = 1
"""


def length_of(span: str) -> str:
    """Return the seconds of an interval."""
    return f"greatest({span}.endTimeInSeconds - {span}.startTimeInSeconds, 0)"


# A sleep is kept if it overlaps none of those before it: the most final, then the latest, then the longest.
NIGHTS = f"""
CREATE OR REPLACE TEMP TABLE nights AS
WITH sleeps AS (
    SELECT *, rowid AS row, {FINALITY} AS finality, deepSleepDurationInSeconds AS deep, lightSleepDurationInSeconds AS light,
           remSleepInSeconds AS rem, startTimeOffsetInSeconds - midnight AS lead,
           from_json(sleepLevelsMap, '{STAGES}') AS stages,
           coalesce(unmeasurableSleepInSeconds, unmeasurableSleepDurationInSeconds, 0) AS unmeasurable,
           TRY_CAST(sleepLevelsMap->>'$.*[*].endTimeInSeconds' AS DOUBLE[]) AS ends
    FROM lines WHERE type = 'sleeps' AND {WORD} NOT IN ('OFF_WRIST', 'MANUAL')
), waking AS (
    SELECT *, coalesce(awakeDurationInSeconds, CASE WHEN stages.awake IS NOT NULL THEN coalesce(
               list_sum(list_transform(stages.awake, lambda x: {length_of("x")})), 0) END) AS awake
    FROM sleeps
), measured AS (
    SELECT *,
           CASE WHEN coalesce(deep, light, rem) IS NOT NULL THEN coalesce(deep, 0) + coalesce(light, 0) + coalesce(rem, 0) END
               AS staged,
           len(list_filter([durationInSeconds, durationInSeconds - unmeasurable, durationInSeconds - awake,
                            durationInSeconds - unmeasurable - awake], lambda x: abs(staged - x) <= 120)) > 0 AS agrees,
           CASE WHEN agrees THEN staged ELSE coalesce(durationInSeconds, staged) END AS tst,
           list_max(list_filter(ends, lambda x: x > start)) AS last_end,
           start + coalesce(tst, 0) + coalesce(awake, 0) + unmeasurable AS expected,
           CASE WHEN abs(last_end - expected) <= 43200 THEN last_end ELSE expected END AS finish
    FROM waking
), apart AS (
    SELECT day, list_reduce(
        list([{{'row': row, 'start': start, 'finish': finish}}]
             ORDER BY finality DESC, _received_at DESC, tst DESC, body DESC, row DESC),
        lambda kept, one: kept || list_filter(one, lambda x: len(list_filter(kept,
            lambda y: x.start < y.finish AND y.start < x.finish)) = 0)) AS kept
    FROM measured WHERE tst > 0 GROUP BY day
)
SELECT * EXCLUDE (row), tst + awake + unmeasurable AS known, ceil((start + lead) / 60)::BIGINT AS first_min,
       least(ceil((finish + lead) / 60)::BIGINT, first_min + 1440) AS past_min, finish - start AS length
FROM measured WHERE row IN (SELECT unnest(kept).row FROM apart)
QUALIFY row_number() OVER (PARTITION BY day ORDER BY tst DESC, _received_at DESC, body DESC, row DESC) = 1
"""


def within(field: str) -> str:
    """Return minutes of stress, no data where they are longer than the record."""
    return f"CASE WHEN d.{field} <= coalesce(d.durationInSeconds, 1e15) THEN d.{field} / 60 END"


def share(part: str, whole: str) -> str:
    """Return percent, at most 100."""
    return f"CASE WHEN {part} > {whole} THEN 100 ELSE 100 * {part} / {whole} END"


def by_hour(value: str, otherwise: str = "NULL") -> str:
    """Return the 24 values of rows that have one hour each, as a list."""
    return f"[{', '.join(f'coalesce(max({value}) FILTER (hour = {hour}), {otherwise})' for hour in range(24))}]"


# The minutes of an hour are the bits of an integer.
DAILY = f"""
CREATE OR REPLACE TEMP TABLE daily AS
WITH hours AS (
    SELECT day, minute // 60 AS nth, bit_or(1::BIGINT << (minute % 60)) AS minutes, sum(v) AS total, count(*) AS n
    FROM (SELECT day, v, greatest(t - 1, 0) // 60 + lead AS minute
          FROM ({
    samples(
        "dailies",
        "timeOffsetHeartRateSamples",
        extra="day, coalesce((floor((start + startTimeOffsetInSeconds - midnight) / 60)::BIGINT % 1440 + 1440) % 1440, 0)::INT AS lead",
    )
})
          WHERE v > 0)
    GROUP BY ALL
), clock AS (
    SELECT day, sum(bit_count(minutes)) AS worn, bit_count(bit_or(minutes)) AS seen, sum(total) AS total, sum(n) AS n
    FROM hours GROUP BY day, nth % 24
), beats AS (
    SELECT day, sum(worn) AS worn, sum(total) / sum(n) AS hr_mean_bpm, count(*) FILTER (seen >= 30) AS valid_minutes_hours
    FROM clock GROUP BY day
), stress AS (
    SELECT day, count(*) AS samples, count(*) FILTER (v <> -1) AS worn, avg(v) FILTER (v >= 0) AS level
    FROM ({samples("(FROM lines WHERE type = 'stressDetails')", "timeOffsetStressLevelValues")}) GROUP BY day
), battery AS (
    SELECT day, max(v) AS body_battery_max, min(v) AS body_battery_min
    FROM ({
    samples("(FROM lines WHERE type = 'stressDetails')", "timeOffsetBodyBatteryValues")
}) WHERE v >= 0 GROUP BY day
), night_spo2 AS (
    SELECT day, avg(v) AS mean, 100 * avg((v < 90)::INT) AS low
    FROM ({samples("nights", "timeOffsetSleepSpo2", length="length")}) WHERE v > 0 GROUP BY day
), day_spo2 AS (
    SELECT day, avg(v) AS mean, 100 * avg((v < 90)::INT) AS low
    FROM ({samples("(FROM lines WHERE type = 'pulseox' AND NOT onDemand)", "timeOffsetSpo2Values")})
    WHERE v > 0 GROUP BY day
), night_breaths AS (
    SELECT day, avg(v) AS resp_sleep_brpm
    FROM ({samples("nights", "timeOffsetSleepRespiration", length="length")}) WHERE v > 0 GROUP BY day
), day_breaths AS (
    SELECT day, avg(v) AS resp_day_brpm
    FROM ({
    samples("(FROM lines WHERE type = 'allDayRespiration')", "timeOffsetEpochToBreaths")
}) WHERE v > 0 GROUP BY day
), spans AS (
    SELECT day, 'night' AS kind, first_min AS first, past_min AS past FROM nights
    UNION ALL
    SELECT day, kind, greatest(first_min, ceil((s.startTimeInSeconds + lead) / 60)),
           least(past_min, ceil((s.endTimeInSeconds + lead) / 60))
    FROM (SELECT day, lead, first_min, past_min, kind, unnest(each) AS s
          FROM (SELECT day, lead, first_min, past_min, unnest(['awake', 'asleep']) AS kind,
                       unnest([stages.awake, stages.deep || stages.light || stages.rem]) AS each FROM nights))
    WHERE s.endTimeInSeconds > s.startTimeInSeconds
), night_hours AS (
    SELECT day, (nth % 24 + 24) % 24 AS hour, bit_or(bits) FILTER (kind = 'night') AS inside,
           coalesce(bit_or(bits) FILTER (kind = 'awake'), 0) AS awake, coalesce(bit_or(bits) FILTER (kind = 'asleep'), 0) AS asleep
    FROM (SELECT *, ((1::BIGINT << (least(past - 60 * nth, 60) - greatest(first - 60 * nth, 0))::INT) - 1)
                    << greatest(first - 60 * nth, 0)::INT AS bits
          FROM (SELECT *, unnest(range(floor(first / 60)::BIGINT, ceil(past / 60)::BIGINT)) AS nth FROM spans WHERE first < past))
    GROUP BY day, (nth % 24 + 24) % 24
), night AS (
    SELECT day, {by_hour("CASE WHEN staged THEN asleep ELSE inside & ~awake END", "0")} AS asleep_by_hour
    FROM night_hours JOIN (SELECT day, count(*) FILTER (kind = 'asleep') > 0 AS staged FROM spans GROUP BY day) USING (day)
    GROUP BY day
), counts AS (
    SELECT day, any_value(userId) AS userId, any_value(date) AS date, count(*) AS n_records, max(_received_at) AS last_received_at,
           count(*) FILTER (type = 'dailies') AS n_dailies, count(*) FILTER (type = 'sleeps') AS n_sleeps,
           count(*) FILTER (type = 'stressDetails') AS n_stress, count(*) FILTER (type = 'hrv') AS n_hrv,
           count(*) FILTER (type = 'activities' AND NOT isParent) AS sessions,
           sum(durationInSeconds) FILTER (type = 'activities' AND NOT isParent) / 60 AS session_min
    FROM lines GROUP BY day
), hrv AS (
    SELECT day, first(lastNightAvg ORDER BY {NEWEST}) AS average FROM lines WHERE type = 'hrv' GROUP BY day
), hourly AS (
    SELECT day, (floor((start + startTimeOffsetInSeconds) / 3600)::BIGINT % 24 + 24) % 24 AS hour, sum(steps) AS steps
    FROM lines WHERE type = 'epochs' GROUP BY ALL
), by_hour AS (
    SELECT day, {by_hour("steps")} AS steps_by_hour FROM hourly GROUP BY day
)
SELECT participant_id, strftime(c.date, '%Y-%m-%d') AS date, c.date AS day,
    coalesce(b.worn, 3.0 * st.worn) AS wear_min,
    CASE WHEN b.worn IS NOT NULL THEN 'heart_rate' WHEN st.samples > 0 THEN 'stress' END AS wear_source,
    b.valid_minutes_hours, wear_min >= 600 AS is_valid_day,
    d.steps, d.distanceInMeters AS distance_m, d.floorsClimbed AS floors, d.activeKilocalories AS active_kcal,
    d.activeTimeInSeconds / 60 AS active_min, d.moderateIntensityDurationInSeconds / 60 AS moderate_min,
    d.vigorousIntensityDurationInSeconds / 60 AS vigorous_min,
    nullif(d.restingHeartRateInBeatsPerMinute, 0) AS resting_hr_bpm, b.hr_mean_bpm,
    nullif(d.minHeartRateInBeatsPerMinute, 0) AS hr_min_bpm, nullif(d.maxHeartRateInBeatsPerMinute, 0) AS hr_max_bpm,
    coalesce(d.averageStressLevel, st.level) AS stress_mean,
    {within("restStressDurationInSeconds")} AS stress_rest_min, {
    within("lowStressDurationInSeconds")
} AS stress_low_min,
    {within("mediumStressDurationInSeconds")} AS stress_medium_min, {
    within("highStressDurationInSeconds")
} AS stress_high_min,
    bb.body_battery_max, bb.body_battery_min, d.bodyBatteryChargedValue AS body_battery_charged,
    d.bodyBatteryDrainedValue AS body_battery_drained,
    s.tst / 60 AS sleep_tst_min, (s.tst + coalesce(s.awake, 0) + s.unmeasurable) / 60 AS sleep_tib_min,
    s.awake / 60 AS sleep_waso_min, {share("s.tst", "s.known")} AS sleep_efficiency_pct,
    {share("s.deep", "s.tst")} AS sleep_deep_pct, {share("s.light", "s.tst")} AS sleep_light_pct,
    {share("s.rem", "s.tst")} AS sleep_rem_pct,
    (s.start + s.lead) / 60 AS sleep_start_min, (s.finish + s.lead) / 60 AS sleep_end_min,
    ((s.start + s.finish) / 2 + s.lead) / 60 AS midsleep_min,
    nullif(hrv.average, 0) AS hrv_rmssd_ms, coalesce(ns.mean, ds.mean) AS spo2_mean_pct,
    coalesce(ns.low, ds.low) AS spo2_lt90_pct, nb.resp_sleep_brpm, db.resp_day_brpm, f.vo2max, f.fitness_age,
    CASE WHEN c.sessions > 0 OR c.n_dailies > 0 THEN c.sessions END AS exercise_sessions,
    CASE WHEN c.sessions > 0 THEN c.session_min WHEN c.n_dailies > 0 THEN 0.0 END AS exercise_min,
    h.steps_by_hour, n.asleep_by_hour, c.last_received_at, c.n_records, c.n_dailies, c.n_sleeps, c.n_stress, c.n_hrv,
    (epoch(d._received_at) - (d.start + d.durationInSeconds)) / 3600 AS sync_lag_h
FROM counts c JOIN people USING (userId)
LEFT JOIN dailies d USING (day) LEFT JOIN beats b USING (day) LEFT JOIN stress st USING (day) LEFT JOIN battery bb USING (day)
LEFT JOIN nights s USING (day) LEFT JOIN night_spo2 ns USING (day) LEFT JOIN day_spo2 ds USING (day)
LEFT JOIN night_breaths nb USING (day) LEFT JOIN day_breaths db USING (day) LEFT JOIN by_hour h USING (day)
LEFT JOIN night n USING (day) LEFT JOIN hrv USING (day) LEFT JOIN fitness f USING (day)
"""

RHYTHM = [
    "sleep_regularity_index",
    "n_sleep_pairs",
    "interdaily_stability",
    "intradaily_variability",
    "relative_amplitude",
    "n_step_hours",
]
WEEKLY = f"""
CREATE OR REPLACE TEMP TABLE weekly AS
WITH days AS (
    SELECT *, date_trunc('week', day)::DATE AS week, (isodow(day) - 1)::DOUBLE AS n, coalesce(is_valid_day, false) AS valid,
           midsleep_min * 2 * pi() / 1440 AS angle
    FROM daily
), means AS (
    SELECT participant_id, week, atan2(avg(sin(angle)), avg(cos(angle))) AS middle,
           atan2(avg(sin(angle)) FILTER (n >= 5), avg(cos(angle)) FILTER (n >= 5)) AS free,
           atan2(avg(sin(angle)) FILTER (n < 5), avg(cos(angle)) FILTER (n < 5)) AS working
    FROM days WHERE angle IS NOT NULL GROUP BY ALL
), spread AS (
    SELECT participant_id, week, middle, free, working, avg(2 * sin((angle - middle) / 2) ** 2) AS q
    FROM days JOIN means USING (participant_id, week) WHERE angle IS NOT NULL GROUP BY ALL
), week AS (
    SELECT participant_id, week, count(*) AS n_days, count(*) FILTER (valid) AS n_valid_days,
        count(*) FILTER (valid AND n >= 5) AS n_valid_weekend_days,
        n_valid_days >= 4 AND n_valid_weekend_days >= 1 AS is_valid_week,
        sum(valid_minutes_hours) / 168 AS yield_hours, count(*) FILTER (n_dailies > 0) / 7 AS completeness_dailies,
        count(*) FILTER (n_sleeps > 0) / 7 AS completeness_sleeps, count(*) FILTER (n_stress > 0) / 7 AS completeness_stress,
        count(*) FILTER (n_hrv > 0) / 7 AS completeness_hrv, avg(wear_min) AS wear_min_mean, count(wear_min) AS n_wear_days,
        median(sync_lag_h) AS sync_lag_h_median, avg(steps) FILTER (valid) AS steps_mean,
        median(steps) FILTER (valid) AS steps_median, stddev_samp(steps) FILTER (valid) AS steps_sd,
        sum(steps) FILTER (valid) AS steps_sum,
        sum(steps) FILTER (valid AND wear_min IS NOT NULL)
            / nullif(sum(wear_min) FILTER (valid AND steps IS NOT NULL) / 60, 0) AS steps_per_wear_h,
        count(steps) FILTER (valid) AS n_steps_days, avg(distance_m) FILTER (valid) AS distance_m_mean,
        avg(floors) FILTER (valid) AS floors_mean, avg(active_kcal) FILTER (valid) AS active_kcal_mean,
        avg(active_min) FILTER (valid) AS active_min_mean, sum(moderate_min) AS moderate_min_sum,
        sum(vigorous_min) AS vigorous_min_sum, avg(resting_hr_bpm) FILTER (valid) AS resting_hr_mean,
        count(resting_hr_bpm) FILTER (valid) AS n_resting_hr_days,
        CASE WHEN n_resting_hr_days >= 3 THEN regr_slope(resting_hr_bpm, n) FILTER (valid) END AS resting_hr_slope,
        avg(hr_mean_bpm) FILTER (valid) AS hr_mean, count(hr_mean_bpm) FILTER (valid) AS n_hr_days,
        avg(hrv_rmssd_ms) AS hrv_rmssd_mean, avg(ln(hrv_rmssd_ms)) AS hrv_ln_rmssd_mean,
        100 * stddev_samp(hrv_rmssd_ms) / avg(hrv_rmssd_ms) AS hrv_cv_pct, count(hrv_rmssd_ms) AS n_hrv_nights,
        avg(stress_mean) FILTER (valid) AS stress_mean, count(stress_mean) FILTER (valid) AS n_stress_days,
        sum(stress_rest_min) FILTER (valid) AS rest, sum(stress_high_min) FILTER (valid) AS high,
        coalesce(rest, 0) + coalesce(sum(stress_low_min) FILTER (valid), 0)
            + coalesce(sum(stress_medium_min) FILTER (valid), 0) + coalesce(high, 0) AS stressed,
        100 * high / nullif(stressed, 0) AS stress_high_pct, 100 * rest / nullif(stressed, 0) AS stress_rest_pct,
        avg(body_battery_max) FILTER (valid) AS body_battery_max_mean,
        avg(body_battery_min) FILTER (valid) AS body_battery_min_mean,
        avg(body_battery_charged) FILTER (valid) AS body_battery_charged_mean,
        avg(body_battery_drained) FILTER (valid) AS body_battery_drained_mean,
        avg(sleep_tst_min) / 60 AS sleep_tst_h_mean, stddev_samp(sleep_tst_min) / 60 AS sleep_tst_h_sd,
        avg(sleep_tib_min) / 60 AS sleep_tib_h_mean, avg(sleep_efficiency_pct) AS sleep_efficiency_mean,
        avg(sleep_waso_min) AS sleep_waso_min_mean, avg(sleep_deep_pct) AS sleep_deep_pct_mean,
        avg(sleep_light_pct) AS sleep_light_pct_mean, avg(sleep_rem_pct) AS sleep_rem_pct_mean,
        count(sleep_tst_min) AS n_nights, count(midsleep_min) AS n_midsleep_nights,
        100 * count(*) FILTER (sleep_tst_min >= 420) / nullif(count(sleep_tst_min), 0) AS nights_ge7h_pct,
        avg(spo2_mean_pct) AS spo2_mean, avg(spo2_lt90_pct) AS spo2_lt90_pct_mean,
        count(spo2_mean_pct) AS n_spo2_days, avg(resp_sleep_brpm) AS resp_sleep_mean,
        count(resp_sleep_brpm) AS n_resp_sleep_days, avg(resp_day_brpm) FILTER (valid) AS resp_day_mean,
        count(resp_day_brpm) FILTER (valid) AS n_resp_day_days,
        arg_max(vo2max, n) AS vo2max_last, arg_max(fitness_age, n) AS fitness_age_last,
        sum(exercise_sessions)::BIGINT AS exercise_sessions_sum, sum(exercise_min) AS exercise_min_sum,
        sum(n_records)::BIGINT AS n_records,
        max(last_received_at) AS last_received_at
    FROM days GROUP BY ALL
), spans AS (
    SELECT participant_id, week + 7 * later AS week, length, unnest(range(24)) AS hour, unnest(steps_by_hour) AS x,
           unnest(list_prepend(eve.last_x, steps_by_hour[:23])) AS x_before,
           60 - bit_count(xor(unnest(asleep_by_hour), unnest(eve.asleep))) AS alike
    FROM days CROSS JOIN (VALUES (7, 0), (28, 0), (28, 1), (28, 2), (28, 3)) AS span(length, later)
    SEMI JOIN week ON week.participant_id = days.participant_id AND week.week = days.week + 7 * later
    LEFT JOIN (SELECT participant_id AS who, day + 1 AS next, steps_by_hour[24] AS last_x, asleep_by_hour AS asleep FROM daily) AS eve
        ON who = participant_id AND next = day AND (n > 0 OR 7 * later < length - 7)
), profile AS (
    SELECT participant_id, week, length, hour, sum(x) AS total, count(x) AS n, sum(x * x) AS squares,
           sum((x - x_before) ** 2) AS jumps, count(x - x_before) AS n_jumps, sum(alike) AS alike, count(alike) AS n_alike
    FROM spans GROUP BY ALL
), sums AS (
    SELECT participant_id, week, length, sum(n) AS n, sum(squares) AS power,
           sum(n) * sum(squares) - sum(total) ** 2 AS spread,
           sum(jumps) / nullif(sum(n_jumps), 0) AS jump, sum(alike) AS alike, sum(n_alike) / 24 AS n_pairs,
           sum(total * total / n) - sum(total) ** 2 / nullif(sum(n), 0) AS between, min(n) > 0 AS whole,
           list(total / n ORDER BY hour) AS hourly, hourly || hourly AS twice
    FROM profile GROUP BY ALL
), measures AS (
    SELECT *, n >= if(length = 7, 120, 336) AS enough,
           CASE WHEN spread > 1e-13 * n * power THEN spread END AS real_spread,  -- below that it is rounding
           list_max(list_transform(range(1, 25), lambda h: list_sum(twice[h:h + 9]))) / 10 AS most,
           list_min(list_transform(range(1, 25), lambda h: list_sum(twice[h:h + 4]))) / 5 AS least
    FROM sums
), rhythm AS (
    SELECT participant_id, week, length, n_pairs::BIGINT AS n_sleep_pairs, n::BIGINT AS n_step_hours,
           CASE WHEN n_pairs >= if(length = 7, 4, 14) THEN -100 + 200 * alike / (1440 * n_pairs) END AS sleep_regularity_index,
           CASE WHEN enough AND whole THEN n * between / real_spread END AS interdaily_stability,
           CASE WHEN enough THEN n * n * jump / real_spread END AS intradaily_variability,
           CASE WHEN enough AND whole THEN (most - least) / nullif(most + least, 0) END AS relative_amplitude
    FROM measures
), clock AS (
    SELECT participant_id, week, middle * 720 / pi() AS m, sqrt(-2 * ln(1 - q)) * 720 / pi() AS sd,
           free * 720 / pi() AS f, working * 720 / pi() AS w
    FROM spread
)
SELECT strftime(week, '%Y-%m-%d') AS date, * EXCLUDE (week, rest, high, stressed, m, sd, f, w, jet),
    CASE WHEN m <= -720 THEN m + 1440 ELSE m END AS midsleep_mean_min,
    CASE WHEN n_midsleep_nights >= 2 THEN sd END AS midsleep_sd_min,
    CASE WHEN jet <= -720 THEN jet + 1440 WHEN jet > 720 THEN jet - 1440 ELSE jet END AS social_jetlag_min,
    CASE WHEN moderate_min_sum IS NOT NULL OR vigorous_min_sum IS NOT NULL
         THEN coalesce(moderate_min_sum, 0) + 2 * coalesce(vigorous_min_sum, 0) END AS mvpa_equiv_min,
    CASE WHEN mvpa_equiv_min > 300 THEN 'exceeds' WHEN mvpa_equiv_min >= 150 THEN 'meets'
         WHEN mvpa_equiv_min IS NOT NULL AND n_valid_days < 7 THEN 'unknown'
         WHEN mvpa_equiv_min IS NOT NULL THEN 'below' END AS who_activity
FROM week LEFT JOIN (SELECT *, f - w AS jet FROM clock) USING (participant_id, week)
LEFT JOIN (SELECT * EXCLUDE (length) FROM rhythm WHERE length = 7) USING (participant_id, week)
LEFT JOIN (SELECT participant_id, week, {", ".join(f"{name} AS {name}_28d" for name in RHYTHM)} FROM rhythm WHERE length = 28)
    USING (participant_id, week)
"""


def compute(work: Work) -> None:
    """Both tables of all weeks in the lake."""
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(PEOPLE, {"people": str(work.people)})
        connection.execute(READ, {"raw": work.raw})  # in order, for of two versions in a body the lower counts
        connection.execute("SET preserve_insertion_order = false")
        for step in (SUPERSEDED, ACCOUNTS, CURRENT, NIGHTS, DAILY, WEEKLY):
            connection.execute(step)
        connection.execute(f"COPY (SELECT * EXCLUDE (day) FROM daily) TO '{work.out}/daily.parquet' (COMPRESSION zstd)")
        connection.execute(f"COPY weekly TO '{work.out}/weekly.parquet' (COMPRESSION zstd)")


if __name__ == "__main__":
    run_peer(compute)
