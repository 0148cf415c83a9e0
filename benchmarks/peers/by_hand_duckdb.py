"""Peer (a): the tables in SQL written by hand for DuckDB, in one pass over the lines.

Any field may be of another type than documented, so it is read as text first. What became of each line is not kept.
"""

from __future__ import annotations

import json

import duckdb

from benchmarks.peers.program import Work, run_peer

NUMBERS = [
    "startTimeInSeconds",
    "startTimeOffsetInSeconds",
    "durationInSeconds",
    "measurementTimeInSeconds",
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
    "deepSleepDurationInSeconds",
    "lightSleepDurationInSeconds",
    "remSleepInSeconds",
    "lastNightAvg",
    "vo2Max",
    "fitnessAge",
]
TEXTS = ["userId", "_summary_type", "_ingest_id", "summaryId", "activityType", "validation"]
FLAGS = ["onDemand", "isParent"]
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
    **dict.fromkeys([*TEXTS, *NUMBERS, *FLAGS, "_received_at"], "VARCHAR"),
    **dict.fromkeys([*SAMPLES, "sleepLevelsMap", "summary"], "JSON"),
}
# Any field may come as text, or as something else altogether: what cannot be read is null.
READ_AS = {**dict.fromkeys(NUMBERS, "DOUBLE"), **dict.fromkeys(FLAGS, "BOOLEAN"), "_received_at": "TIMESTAMP"}
TEXT = {"averageStressLevel": "coalesce(averageStressLevel, misspelt)"}
TYPED = ", ".join(f"TRY_CAST({TEXT.get(name, name)} AS {type_}) AS {name}" for name, type_ in READ_AS.items())

LISTS = ", ".join(
    f"TRY_CAST(json_keys({name}) AS INTEGER[]) AS {name}_t, "
    f"TRY_CAST(json_extract_string({name}, '$.*') AS {type_}[]) AS {name}_v"
    for name, type_ in SAMPLES.items()
)
KEY = """
date, userId, type, CASE WHEN type NOT IN ('activities', 'userMetrics') THEN start END,
CASE WHEN type = 'epochs' THEN activityType WHEN type = 'activities' THEN summaryId END, type = 'pulseox' AND onDemand
"""
# The lists are made here, and not once the current records are known, because this statement reads in parallel, and a
# block of lines then holds few sample maps: one of sample maps only would not fit any cache.
READ = f"""
CREATE OR REPLACE TEMP TABLE lines AS
SELECT * EXCLUDE (_summary_type, startTimeInSeconds, measurementTimeInSeconds, summary, {", ".join(SAMPLES)}), {LISTS},
       coalesce(startTimeInSeconds, measurementTimeInSeconds, TRY_CAST(summary->>'startTimeInSeconds' AS DOUBLE)) AS start,
       CASE _summary_type WHEN 'manuallyUpdatedActivities' THEN 'activities' ELSE _summary_type END AS type,
       epoch(date::TIMESTAMP) AS midnight, hash({KEY}) AS key
FROM (
    SELECT date, * EXCLUDE (date, misspelt) REPLACE ({TYPED})
    FROM (
        SELECT date, unnest(json_transform(json, '{json.dumps(STRUCTURE)}')),
               CASE WHEN contains(json, 'averageStresslevel') THEN json->>'averageStresslevel' END AS misspelt
        FROM read_json_objects($raw, format = 'newline_delimited', ignore_errors = true, hive_partitioning = true)
    )
)
JOIN (SELECT user_id AS userId, participant_id FROM read_csv($people, all_varchar = true)) USING (userId)
"""

# Hardly a line has another version: only those whose keys may be the same are ranked.
CURRENT = f"""
CREATE OR REPLACE TEMP TABLE superseded AS
SELECT rowid AS row FROM lines WHERE key IN (SELECT key FROM lines GROUP BY key HAVING count(*) > 1)
QUALIFY row_number() OVER (
    PARTITION BY {KEY} ORDER BY _received_at DESC, durationInSeconds DESC NULLS LAST, _ingest_id DESC, summaryId DESC) > 1;
CREATE OR REPLACE TEMP VIEW current AS SELECT rowid AS row, * FROM lines WHERE rowid NOT IN (FROM superseded);
CREATE OR REPLACE TEMP TABLE main AS
SELECT row FROM current
WHERE type = 'dailies'
   OR (type = 'sleeps' AND durationInSeconds > 0 AND upper(coalesce(validation, '')) NOT IN ('OFF_WRIST', 'MANUAL'))
QUALIFY row_number() OVER (
    PARTITION BY participant_id, date, type
    ORDER BY durationInSeconds DESC NULLS LAST, _received_at DESC, _ingest_id DESC) = 1;
CREATE OR REPLACE TEMP VIEW dailies AS SELECT * FROM lines WHERE type = 'dailies' AND rowid IN (FROM main);
CREATE OR REPLACE TEMP VIEW sleeps AS SELECT * FROM lines WHERE type = 'sleeps' AND rowid IN (FROM main)
"""


def samples(source: str, field: str, extra: str = "") -> str:
    """Return the samples of a map, one a row: participant_id, date, t, v."""
    return f"""
        SELECT participant_id, date {extra}, unnest({field}_t) AS t, unnest({field}_v) AS v FROM {source}"""


def by_hour(value: str, otherwise: str = "NULL") -> str:
    """Return the 24 values of rows that have one hour each, as a list."""
    return f"[{', '.join(f'coalesce(max({value}) FILTER (hour = {hour}), {otherwise})' for hour in range(24))}]"


# The 15-s slots of a quarter of an hour are the bits of an integer, four of them a minute.
DAILY = f"""
CREATE OR REPLACE TEMP TABLE daily AS
WITH quarters AS (
    SELECT participant_id, date, (t + lead) // 900 AS quarter, bit_or(1::BIGINT << ((t + lead) // 15 % 60)) AS slots,
           sum(v) AS total, count(*) AS n
    FROM ({samples("dailies", "timeOffsetHeartRateSamples", ", (start + startTimeOffsetInSeconds - midnight)::INT AS lead")})
    WHERE v > 0 GROUP BY ALL
), hours AS (
    SELECT participant_id, date, quarter // 4 AS hour, sum(bit_count(slots)) AS slots, sum(total) AS total, sum(n) AS n,
           sum(bit_count((slots | (slots >> 1) | (slots >> 2) | (slots >> 3)) & {0x111111111111111})) AS minutes
    FROM quarters GROUP BY ALL
), beats AS (
    SELECT participant_id, date, sum(slots) AS slots, sum(total) / sum(n) AS hr_mean_bpm,
           count(*) FILTER (minutes >= 40) AS valid_minutes_hours
    FROM hours GROUP BY ALL
), stress AS (
    SELECT participant_id, date, count(*) AS samples, count(*) FILTER (v <> -1) AS worn, avg(v) FILTER (v >= 0) AS level
    FROM ({samples("(FROM current WHERE type = 'stressDetails')", "timeOffsetStressLevelValues")}) GROUP BY ALL
), battery AS (
    SELECT participant_id, date, max(v) AS body_battery_max, min(v) AS body_battery_min
    FROM ({samples("(FROM current WHERE type = 'stressDetails')", "timeOffsetBodyBatteryValues")}) WHERE v >= 0 GROUP BY ALL
), night_spo2 AS (
    SELECT participant_id, date, avg(v) AS mean, 100 * avg((v < 90)::INT) AS low
    FROM ({samples("sleeps", "timeOffsetSleepSpo2")}) WHERE v > 0 GROUP BY ALL
), day_spo2 AS (
    SELECT participant_id, date, avg(v) AS mean, 100 * avg((v < 90)::INT) AS low
    FROM ({samples("(FROM current WHERE type = 'pulseox' AND onDemand IS NOT TRUE)", "timeOffsetSpo2Values")})
    WHERE v > 0 GROUP BY ALL
), night_breaths AS (
    SELECT participant_id, date, avg(v) AS resp_sleep_brpm
    FROM ({samples("sleeps", "timeOffsetSleepRespiration")}) WHERE v > 0 GROUP BY ALL
), day_breaths AS (
    SELECT participant_id, date, avg(v) AS resp_day_brpm
    FROM ({samples("(FROM current WHERE type = 'allDayRespiration')", "timeOffsetEpochToBreaths")}) WHERE v > 0 GROUP BY ALL
), sleep AS (
    SELECT *, coalesce(list_max(list_filter(
               json_extract(sleepLevelsMap, '$.*[*].endTimeInSeconds')::DOUBLE[],
               lambda x: x > start AND x <= start + 172800)), start + in_bed) AS finish
    FROM (SELECT *, startTimeOffsetInSeconds - midnight + 86400 AS lead,
                 durationInSeconds + coalesce(awakeDurationInSeconds, 0) + coalesce(unmeasurableSleepInSeconds, 0) AS in_bed
          FROM sleeps)
), spans AS (
    SELECT participant_id, date, false AS awake, ceil((start + lead) / 60)::INT AS first, ceil((finish + lead) / 60)::INT AS past
    FROM sleep
    UNION ALL
    SELECT participant_id, date, true, ceil((unnest(
               json_extract(sleepLevelsMap, '$.awake[*].startTimeInSeconds')::DOUBLE[]) + lead) / 60)::INT,
           ceil((unnest(json_extract(sleepLevelsMap, '$.awake[*].endTimeInSeconds')::DOUBLE[]) + lead) / 60)::INT
    FROM sleep
), night_hours AS (
    SELECT participant_id, date, nth % 24 AS hour,
           bit_or(bits) FILTER (NOT awake) & ~coalesce(bit_or(bits) FILTER (awake), 0) AS asleep
    FROM (SELECT *, (1::BIGINT << least(past - 60 * nth, 60)) - (1::BIGINT << greatest(first - 60 * nth, 0)) AS bits
          FROM (SELECT *, unnest(range(first // 60, (past + 59) // 60)) AS nth FROM spans))
    GROUP BY ALL
), night AS (
    SELECT participant_id, date, {by_hour("asleep", "0")} AS asleep_by_hour FROM night_hours GROUP BY ALL
), counts AS (
    SELECT participant_id, date, count(*) AS n_records, max(_received_at) AS last_received_at,
           count(*) FILTER (type = 'dailies') AS n_dailies,
           count(*) FILTER (type = 'sleeps') AS n_sleeps, count(*) FILTER (type = 'stressDetails') AS n_stress,
           count(*) FILTER (type = 'hrv') AS n_hrv,
           arg_max(lastNightAvg, _received_at) FILTER (type = 'hrv' AND lastNightAvg > 0) AS hrv_rmssd_ms,
           arg_max(vo2Max, _received_at) FILTER (type = 'userMetrics' AND vo2Max > 0) AS vo2max,
           arg_max(fitnessAge, _received_at) FILTER (type = 'userMetrics' AND fitnessAge > 0) AS fitness_age,
           count(*) FILTER (type = 'activities' AND isParent IS NOT TRUE) AS sessions,
           sum(durationInSeconds) FILTER (type = 'activities' AND isParent IS NOT TRUE) / 60 AS session_min
    FROM current GROUP BY ALL
), hourly AS (
    SELECT participant_id, date, (start + startTimeOffsetInSeconds)::BIGINT // 3600 % 24 AS hour, sum(steps) AS steps
    FROM current WHERE type = 'epochs' GROUP BY ALL
), by_hour AS (
    SELECT participant_id, date, {by_hour("steps")} AS steps_by_hour
    FROM hourly GROUP BY ALL
)
SELECT participant_id, strftime(date, '%Y-%m-%d') AS date, date AS day,
    coalesce(b.slots / 4, 3.0 * st.worn) AS wear_min,
    CASE WHEN b.slots IS NOT NULL THEN 'heart_rate' WHEN st.samples > 0 THEN 'stress' END AS wear_source,
    b.valid_minutes_hours, wear_min >= 600 AS is_valid_day,
    d.steps, d.distanceInMeters AS distance_m, d.floorsClimbed AS floors, d.activeKilocalories AS active_kcal,
    d.activeTimeInSeconds / 60 AS active_min, d.moderateIntensityDurationInSeconds / 60 AS moderate_min,
    d.vigorousIntensityDurationInSeconds / 60 AS vigorous_min,
    CASE WHEN d.restingHeartRateInBeatsPerMinute > 0 THEN d.restingHeartRateInBeatsPerMinute END AS resting_hr_bpm,
    b.hr_mean_bpm,
    CASE WHEN d.minHeartRateInBeatsPerMinute > 0 THEN d.minHeartRateInBeatsPerMinute END AS hr_min_bpm,
    CASE WHEN d.maxHeartRateInBeatsPerMinute > 0 THEN d.maxHeartRateInBeatsPerMinute END AS hr_max_bpm,
    coalesce(CASE WHEN d.averageStressLevel >= 0 THEN d.averageStressLevel END, st.level) AS stress_mean,
    d.restStressDurationInSeconds / 60 AS stress_rest_min, d.lowStressDurationInSeconds / 60 AS stress_low_min,
    d.mediumStressDurationInSeconds / 60 AS stress_medium_min, d.highStressDurationInSeconds / 60 AS stress_high_min,
    bb.body_battery_max, bb.body_battery_min, d.bodyBatteryChargedValue AS body_battery_charged,
    d.bodyBatteryDrainedValue AS body_battery_drained,
    s.durationInSeconds / 60 AS sleep_tst_min, s.in_bed / 60 AS sleep_tib_min, s.awakeDurationInSeconds / 60 AS sleep_waso_min,
    100 * s.durationInSeconds / s.in_bed AS sleep_efficiency_pct,
    100 * s.deepSleepDurationInSeconds / s.durationInSeconds AS sleep_deep_pct,
    100 * s.lightSleepDurationInSeconds / s.durationInSeconds AS sleep_light_pct,
    100 * s.remSleepInSeconds / s.durationInSeconds AS sleep_rem_pct,
    (s.start + s.startTimeOffsetInSeconds - s.midnight) / 60 AS sleep_start_min,
    (s.finish + s.startTimeOffsetInSeconds - s.midnight) / 60 AS sleep_end_min,
    (sleep_start_min + sleep_end_min) / 2 AS midsleep_min,
    c.hrv_rmssd_ms, coalesce(ns.mean, ds.mean) AS spo2_mean_pct, coalesce(ns.low, ds.low) AS spo2_lt90_pct,
    nb.resp_sleep_brpm, db.resp_day_brpm, c.vo2max, c.fitness_age,
    CASE WHEN c.sessions > 0 OR c.n_dailies > 0 THEN c.sessions END AS exercise_sessions,
    CASE WHEN c.sessions > 0 THEN c.session_min WHEN c.n_dailies > 0 THEN 0.0 END AS exercise_min,
    h.steps_by_hour, n.asleep_by_hour, c.last_received_at, c.n_records, c.n_dailies, c.n_sleeps, c.n_stress, c.n_hrv,
    (epoch(d._received_at) - (d.start + d.durationInSeconds)) / 3600 AS sync_lag_h
FROM counts c
LEFT JOIN dailies d USING (participant_id, date) LEFT JOIN beats b USING (participant_id, date)
LEFT JOIN stress st USING (participant_id, date) LEFT JOIN battery bb USING (participant_id, date)
LEFT JOIN sleep s USING (participant_id, date) LEFT JOIN night_spo2 ns USING (participant_id, date)
LEFT JOIN day_spo2 ds USING (participant_id, date) LEFT JOIN night_breaths nb USING (participant_id, date)
LEFT JOIN day_breaths db USING (participant_id, date) LEFT JOIN by_hour h USING (participant_id, date)
LEFT JOIN night n USING (participant_id, date)
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
        avg(spo2_mean_pct) FILTER (valid) AS spo2_mean, avg(spo2_lt90_pct) FILTER (valid) AS spo2_lt90_pct_mean,
        count(spo2_mean_pct) FILTER (valid) AS n_spo2_days, avg(resp_sleep_brpm) FILTER (valid) AS resp_sleep_mean,
        count(resp_sleep_brpm) FILTER (valid) AS n_resp_sleep_days, avg(resp_day_brpm) FILTER (valid) AS resp_day_mean,
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
    SELECT participant_id, week, length, sum(total) / sum(n) AS mean, sum(n) AS n, sum(n) * sum(squares) - sum(total) ** 2 AS spread,
           sum(jumps) / nullif(sum(n_jumps), 0) AS jump, sum(alike) AS alike, sum(n_alike) / 24 AS n_pairs,
           var_pop(total / n) + (avg(total / n) - mean) ** 2 AS between, min(n) > 0 AS whole,
           list(total / n ORDER BY hour) AS hourly, hourly || hourly AS twice
    FROM profile GROUP BY ALL
), measures AS (
    SELECT *, list_max(list_transform(range(1, 25), lambda h: list_sum(twice[h:h + 9]))) / 10 AS most,
           list_min(list_transform(range(1, 25), lambda h: list_sum(twice[h:h + 4]))) / 5 AS least
    FROM sums
), rhythm AS (
    SELECT participant_id, week, length, n_pairs::BIGINT AS n_sleep_pairs, n::BIGINT AS n_step_hours,
           CASE WHEN n_pairs >= 3 THEN -100 + 200 * alike / (1440 * n_pairs) END AS sleep_regularity_index,
           CASE WHEN n >= 72 AND whole THEN n * n * between / nullif(spread, 0) END AS interdaily_stability,
           CASE WHEN n >= 72 THEN n * n * jump / nullif(spread, 0) END AS intradaily_variability,
           CASE WHEN n >= 72 AND whole THEN (most - least) / nullif(most + least, 0) END AS relative_amplitude
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
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(READ, {"raw": work.raw, "people": str(work.people)})
        for step in (CURRENT, DAILY, WEEKLY):
            connection.execute(step)
        connection.execute(f"COPY (SELECT * EXCLUDE (day) FROM daily) TO '{work.out}/daily.parquet' (COMPRESSION zstd)")
        connection.execute(f"COPY weekly TO '{work.out}/weekly.parquet' (COMPRESSION zstd)")


if __name__ == "__main__":
    run_peer(compute)
