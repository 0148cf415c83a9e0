"""Peer (e): the tables in SQL written by hand for ClickHouse, embedded by chdb, in one pass over the lines.

Any field may be of another type than documented, so it is read as text first. What became of each line is not kept.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from chdb.session import Session

from benchmarks.peers.garmin_fields import AMOUNTS, FLAGS, TEXTS, TIMES, TYPES
from benchmarks.peers.program import Work, run_peer

SAMPLES = {
    "timeOffsetHeartRateSamples": "Int32",
    "timeOffsetStressLevelValues": "Int32",
    "timeOffsetBodyBatteryValues": "Int32",
    "timeOffsetSleepSpo2": "Int32",
    "timeOffsetSleepRespiration": "Float64",
    "timeOffsetSpo2Values": "Int32",
    "timeOffsetEpochToBreaths": "Float64",
}
MISSPELT = "averageStresslevel"
STRUCTURE = ", ".join(
    f"{name} String" for name in [*TEXTS, *TIMES, *AMOUNTS, *FLAGS, *SAMPLES, MISSPELT, "sleepLevelsMap", "summary"]
)
SETTINGS = {
    "max_threads": 2,
    "join_use_nulls": 1,
    "prefer_column_name_to_alias": 1,
    "use_hive_partitioning": 1,
    "input_format_skip_unknown_fields": 1,
    "input_format_allow_errors_ratio": 1,
    "input_format_null_as_default": 1,
    "input_format_json_read_numbers_as_strings": 1,
    "input_format_json_read_bools_as_strings": 1,
    "input_format_json_read_arrays_as_strings": 1,
    "input_format_json_read_objects_as_strings": 1,
}


def amount(field: str) -> str:
    """Return a number that is not negative."""
    return f"if((toFloat64OrNull({field}) AS n_{field}) BETWEEN 0 AND 1e15, n_{field}, NULL)"


def typed() -> str:
    """Return each field as what it is: any may come as text, or as what cannot be read and is null."""
    fields = {
        **{name: f"toFloat64OrNull({name})" for name in TIMES},
        **{name: amount(name) for name in AMOUNTS},
        "averageStressLevel": f"coalesce({amount('averageStressLevel')}, {amount(MISSPELT)})",
        **{name: f"lower({name}) IN ('true', '1')" for name in FLAGS},
        "_received_at": "parseDateTime64BestEffortOrNull(_received_at, 3, 'UTC')",
        "nested": "JSONExtract(summary, 'startTimeInSeconds', 'Nullable(Float64)')",
        "type": f"transform(_summary_type, {list(TYPES)}, {list(TYPES.values())}, _summary_type)",
    }
    for name, type_ in SAMPLES.items():
        fields[f"{name}_kv"] = f"JSONExtractKeysAndValues({name}, '{type_}')"
    return ", ".join(f"{value} AS {name}_" for name, value in fields.items())


LISTS = ", ".join(
    f"arrayMap(k -> toInt32OrDefault(k, -1::Int32), {name}_kv_.1) AS {name}_t, {name}_kv_.2 AS {name}_v"
    for name in SAMPLES
)
PEOPLE = """
CREATE TABLE people ENGINE = Memory AS
SELECT user_id AS userId, participant_id, 1000000 * dense_rank() OVER (ORDER BY participant_id) AS person
FROM file('{people}', CSVWithNames, 'user_id String, participant_id String')
"""
# Lines of one key are versions of each other. That of an epoch has its delivery, for one replaces all of the other.
READ = f"""
CREATE TABLE lines ENGINE = Memory AS
SELECT *, cityHash64(userId, day, type, part, at, identity) AS key, cityHash64(userId, day, at, identity) AS slice
FROM (
    SELECT id, place, people.userId AS userId, summaryId, activityType, validation, sleepLevelsMap, _ingest_id AS body, type_ AS type,
        _received_at_ AS received, {", ".join(f"{name}_ AS {name}" for name in [*AMOUNTS, *FLAGS])},
        startTimeOffsetInSeconds_ AS offset, {LISTS}, person + toRelativeDayNum(date) AS day, date,
        toFloat64(86400 * toRelativeDayNum(date)) AS midnight,
        coalesce(startTimeInSeconds_, measurementTimeInSeconds_, nested_) AS moment,
        if(startTimeInSeconds_ + ifNull(offset, 0) BETWEEN -2208988800 AND 253402300799, startTimeInSeconds_, NULL) AS start,
        multiIf(type = 'pulseox', toString(onDemand), type = 'epochs', concat(activityType, ' ', body), '') AS part,
        multiIf(type = 'userMetrics', '', type = 'activities' AND summaryId <> '' OR moment IS NULL, summaryId, '') AS identity,
        if(type = 'userMetrics' OR identity <> '', -1e300, ifNull(moment, -1e300)) AS at
    FROM (
        SELECT date, cityHash64(_path, _row_number) AS id, _row_number AS place, userId, summaryId, activityType, validation,
               _ingest_id, sleepLevelsMap, {typed()}
        FROM file('{{raw}}', JSONEachRow, '{STRUCTURE}')
    ) AS line
    JOIN people USING (userId)
)
"""

GROWING = "type IN ('dailies', 'epochs', 'stressDetails', 'pulseox', 'allDayRespiration', 'hrv')"
WORD = "upper(trim(validation))"
FINALITY = (
    f"transform({WORD}, ['AUTO_MANUAL', 'ENHANCED_FINAL', 'ENHANCED_TENTATIVE', 'AUTO_TENTATIVE'], [4, 3, 1, 0], 2)"
)
SUPERSEDED = f"""
CREATE TABLE superseded ENGINE = Memory AS
SELECT id FROM (
    SELECT id, row_number() OVER (
        PARTITION BY key
        ORDER BY if(type = 'sleeps', {FINALITY}, 0) DESC, if({GROWING}, coalesce(durationInSeconds, longest), 0.0) DESC,
                 received DESC, if(type = 'sleeps', durationInSeconds, 0.0) DESC, body DESC, place DESC) AS rank
    FROM (
        SELECT id, key, type, validation, durationInSeconds, received, body, place,
               max(durationInSeconds) OVER (PARTITION BY key) AS longest
        FROM lines WHERE key IN (SELECT key FROM lines GROUP BY key HAVING count() > 1)
    )
) WHERE rank > 1
UNION ALL
SELECT arrayJoin(ids) FROM (
    SELECT ids, row_number() OVER (PARTITION BY slice ORDER BY length DESC, latest DESC, body DESC) AS rank
    FROM (
        SELECT slice, body, groupArray(id) AS ids, max(coalesce(durationInSeconds, longest)) AS length, max(received) AS latest
        FROM (
            SELECT id, slice, body, durationInSeconds, received, max(durationInSeconds) OVER (PARTITION BY slice) AS longest
            FROM lines WHERE type = 'epochs' AND slice IN (
                SELECT slice FROM lines WHERE type = 'epochs' GROUP BY slice HAVING min(body) <> max(body))
        )
        GROUP BY slice, body
    )
) WHERE rank > 1
"""
NEWEST = "received DESC, body DESC, place DESC"


def samples(source: str, field: str, *, length: str = "durationInSeconds", extra: str = "day") -> str:
    """Return the samples of a map that are within its record, one a row: t, v, and some columns of the record."""
    return f"""
        SELECT {extra}, t, v FROM {source} ARRAY JOIN {field}_t AS t, {field}_v AS v
        WHERE t >= 0 AND t <= ifNull({length}, 1e15)"""


# Of several accounts of a participant the one that was worn longest counts, on each date.
OTHERS = f"""
CREATE TABLE others ENGINE = Memory AS
WITH contested AS (
    SELECT * FROM lines
    WHERE day IN (SELECT day FROM lines GROUP BY day HAVING min(userId) <> max(userId)) AND id NOT IN (SELECT id FROM superseded)
), dailies AS (
    SELECT * FROM contested WHERE type = 'dailies'
    ORDER BY durationInSeconds DESC, {NEWEST} LIMIT 1 BY day, userId
), beats AS (
    SELECT day, userId, toInt64(uniqExact(intDiv(greatest(t - 1, 0), 60))) AS wear
    FROM ({samples("dailies", "timeOffsetHeartRateSamples", extra="day, userId")}) WHERE v > 0 GROUP BY day, userId
), stress AS (
    SELECT day, userId, toInt64(3 * countIf(v <> -1)) AS wear
    FROM ({samples("(SELECT * FROM contested WHERE type = 'stressDetails')", "timeOffsetStressLevelValues", extra="day, userId")})
    GROUP BY day, userId
)
SELECT day, userId FROM (
    SELECT day, userId, row_number() OVER (
        PARTITION BY day ORDER BY coalesce(beats.wear, stress.wear, -1::Int64) DESC, latest DESC, userId DESC) AS rank
    FROM (SELECT day, userId, max(received) AS latest FROM contested GROUP BY day, userId) AS accounts
    LEFT JOIN beats USING (day, userId) LEFT JOIN stress USING (day, userId)
) WHERE rank > 1
"""
OF_OTHERS = "(day, userId) IN (SELECT day, userId FROM others)"
CURRENT = f"""
CREATE VIEW current AS SELECT * FROM lines WHERE NOT {OF_OTHERS} AND id NOT IN (SELECT id FROM superseded)
"""
DAILIES = f"""
CREATE TABLE dailies ENGINE = Memory AS
SELECT * FROM current WHERE id IN (
    SELECT id FROM current WHERE type = 'dailies' ORDER BY durationInSeconds DESC, {NEWEST} LIMIT 1 BY day)
"""
SPANS = "Array(Tuple(startTimeInSeconds Nullable(Float64), endTimeInSeconds Nullable(Float64)))"
STAGES = f"Tuple(deep {SPANS}, light {SPANS}, rem {SPANS}, awake {SPANS})"
# A sleep is kept if it overlaps none of those before it: the most final, then the latest, then the longest.
NIGHTS = f"""
CREATE TABLE nights ENGINE = Memory AS
WITH measured AS (
    SELECT *, {FINALITY} AS finality, deepSleepDurationInSeconds AS deep, lightSleepDurationInSeconds AS light,
        remSleepInSeconds AS rem, offset - midnight AS lead, JSONExtract(sleepLevelsMap, '{STAGES}') AS stages,
        coalesce(awakeDurationInSeconds, if(JSONType(sleepLevelsMap, 'awake') = 'Array', arraySum(arrayMap(
            x -> ifNull(greatest(x.endTimeInSeconds - x.startTimeInSeconds, 0), 0), stages.awake)), NULL)) AS awake,
        coalesce(unmeasurableSleepInSeconds, unmeasurableSleepDurationInSeconds, 0) AS unmeasurable,
        if(coalesce(deep, light, rem) IS NULL, NULL, ifNull(deep, 0) + ifNull(light, 0) + ifNull(rem, 0)) AS staged,
        arrayExists(x -> ifNull(abs(staged - x) <= 120, 0), [durationInSeconds, durationInSeconds - unmeasurable,
            durationInSeconds - awake, durationInSeconds - unmeasurable - awake]) AS agrees,
        if(agrees, staged, coalesce(durationInSeconds, staged)) AS tst,
        start + ifNull(tst, 0) + ifNull(awake, 0) + unmeasurable AS expected,
        arrayMap(x -> JSONExtract(x, 'endTimeInSeconds', 'Float64'), arrayFlatten(arrayMap(
            x -> JSONExtractArrayRaw(x.2), JSONExtractKeysAndValuesRaw(sleepLevelsMap)))) AS ends,
        arrayMax(arrayFilter(x -> ifNull(x > start, 0), ends)) AS last_end,
        if(ifNull(last_end > start AND abs(last_end - expected) <= 43200, 0), last_end, expected) AS finish
    FROM current WHERE type = 'sleeps' AND {WORD} NOT IN ('OFF_WRIST', 'MANUAL')
), apart AS (
    SELECT arrayFold((kept, x) -> if(arrayExists(y -> ifNull(x.2 < y.3 AND y.2 < x.3, 0), kept), kept, arrayPushBack(kept, x)),
                     groupArray((toNullable(id), start, finish)), CAST([], 'Array(Tuple(Nullable(UInt64), Nullable(Float64), Nullable(Float64)))')) AS kept
    FROM (SELECT * FROM measured WHERE tst > 0
          ORDER BY day, finality DESC, received DESC, tst DESC, body DESC, place DESC)
    GROUP BY day
)
SELECT *, tst + awake + unmeasurable AS known, toInt64(ceil((start + lead) / 60)) AS first_min,
       if(finish IS NULL, NULL, least(toInt64(ceil((finish + lead) / 60)), first_min + 1440)) AS past_min, finish - start AS length
FROM measured WHERE id IN (SELECT arrayJoin(kept).1 FROM apart)
ORDER BY tst DESC, {NEWEST} LIMIT 1 BY day
"""
AWAKE_AND_ASLEEP = """
CREATE TABLE spans ENGINE = Memory AS
SELECT day, 0 AS kind, first_min AS first, past_min AS past FROM nights WHERE first < past
UNION ALL
SELECT day, kind, greatest(first_min, toInt64(ceil((s.1 + lead) / 60))), least(past_min, toInt64(ceil((s.2 + lead) / 60)))
FROM (
    SELECT day, lead, first_min, past_min, 1 AS kind, arrayJoin(stages.awake) AS s FROM nights
    UNION ALL
    SELECT day, lead, first_min, past_min, 2, arrayJoin(arrayConcat(stages.deep, stages.light, stages.rem)) FROM nights
) WHERE s.2 > s.1
"""
ASLEEP = """
CREATE TABLE asleep ENGINE = Memory AS
SELECT day, groupArrayInsertAt(0::Int64, 24)(toInt64(if(staged, asleep, bitAnd(inside, bitNot(awake)))), toUInt8(hour)) AS asleep_by_hour
FROM (
    SELECT day, positiveModulo(nth, 24) AS hour, groupBitOrIf(bits, kind = 0) AS inside, groupBitOrIf(bits, kind = 1) AS awake,
           groupBitOrIf(bits, kind = 2) AS asleep
    FROM (
        SELECT day, kind, nth, toUInt8(greatest(first - 60 * nth, 0)) AS low, toUInt8(least(past - 60 * nth, 60)) AS high,
               bitShiftLeft(bitShiftLeft(1::UInt64, high - low) - 1, low) AS bits
        FROM (SELECT day, kind, assumeNotNull(first) AS first, assumeNotNull(past) AS past,
                     arrayJoin(range(toInt64(floor(first / 60)), toInt64(ceil(past / 60)))) AS nth FROM spans WHERE first < past)
    )
    GROUP BY day, hour
) AS hours
JOIN (SELECT day, countIf(kind = 2) > 0 AS staged FROM spans GROUP BY day) AS nights USING (day)
WHERE inside > 0
GROUP BY day
"""
# The minutes of an hour are the bits of an integer.
BEATS = f"""
CREATE TABLE beats ENGINE = Memory AS
SELECT day, sum(worn) AS worn, sum(total) / sum(n) AS hr_mean_bpm, countIf(seen >= 30) AS valid_minutes_hours
FROM (
    SELECT day, sum(bitCount(minutes)) AS worn, bitCount(groupBitOr(minutes)) AS seen, sum(total) AS total, sum(n) AS n
    FROM (
        SELECT day, intDiv(minute, 60) AS nth, groupBitOr(bitShiftLeft(1::UInt64, minute % 60)) AS minutes, sum(v) AS total, count() AS n
        FROM (
            SELECT day, v, toUInt32(intDiv(greatest(t - 1, 0), 60) + lead) AS minute
            FROM ({
    samples(
        "(SELECT *, toInt32(ifNull(positiveModulo(toInt64(floor((start + offset - midnight) / 60)), 1440), 0)) AS lead FROM dailies)",
        "timeOffsetHeartRateSamples",
        extra="day, lead",
    )
}) WHERE v > 0
        )
        GROUP BY day, nth
    )
    GROUP BY day, nth % 24
)
GROUP BY day
"""


def of_samples(type_: str, field: str, values: str, where: str = "1") -> str:
    """Return what is made of all samples of a type's current records, by day."""
    source = f"(SELECT * FROM current WHERE {type_})"
    return f"(SELECT day, {values} FROM ({samples(source, field)}) WHERE {where} GROUP BY day)"


def of_nights(field: str, values: str) -> str:
    """Return the same of the nights."""
    return f"(SELECT day, {values} FROM ({samples('nights', field, length='length')}) WHERE v > 0 GROUP BY day)"


def within(field: str) -> str:
    """Return minutes of stress, no data where they are longer than the record."""
    return f"if(d.{field} <= coalesce(d.durationInSeconds, 1e15), d.{field} / 60, NULL)"


def share(part: str, whole: str) -> str:
    """Return percent, at most 100."""
    return f"if({part} > {whole}, 100, 100 * {part} / {whole})"


OXYGEN = "avg(v) AS mean, 100 * avg(v < 90) AS low"
DAILY = f"""
CREATE TABLE daily ENGINE = Memory AS
SELECT participant_id, toString(c.date) AS date, day, c.date AS own_date,
    coalesce(toFloat64(b.worn), 3.0 * st.worn) AS wear_min,
    multiIf(b.worn IS NOT NULL, 'heart_rate', st.samples > 0, 'stress', NULL) AS wear_source,
    b.valid_minutes_hours AS valid_minutes_hours, CAST(wear_min >= 600, 'Nullable(Bool)') AS is_valid_day,
    d.steps AS steps, d.distanceInMeters AS distance_m, d.floorsClimbed AS floors, d.activeKilocalories AS active_kcal,
    d.activeTimeInSeconds / 60 AS active_min, d.moderateIntensityDurationInSeconds / 60 AS moderate_min,
    d.vigorousIntensityDurationInSeconds / 60 AS vigorous_min,
    nullIf(d.restingHeartRateInBeatsPerMinute, 0) AS resting_hr_bpm, b.hr_mean_bpm AS hr_mean_bpm,
    nullIf(d.minHeartRateInBeatsPerMinute, 0) AS hr_min_bpm, nullIf(d.maxHeartRateInBeatsPerMinute, 0) AS hr_max_bpm,
    coalesce(d.averageStressLevel, st.level) AS stress_mean,
    {within("restStressDurationInSeconds")} AS stress_rest_min, {within("lowStressDurationInSeconds")} AS stress_low_min,
    {within("mediumStressDurationInSeconds")} AS stress_medium_min, {within("highStressDurationInSeconds")} AS stress_high_min,
    bb.body_battery_max AS body_battery_max, bb.body_battery_min AS body_battery_min,
    d.bodyBatteryChargedValue AS body_battery_charged, d.bodyBatteryDrainedValue AS body_battery_drained,
    s.tst / 60 AS sleep_tst_min, (s.tst + ifNull(s.awake, 0) + s.unmeasurable) / 60 AS sleep_tib_min,
    s.awake / 60 AS sleep_waso_min, {share("s.tst", "s.known")} AS sleep_efficiency_pct, {share("s.deep", "s.tst")} AS sleep_deep_pct,
    {share("s.light", "s.tst")} AS sleep_light_pct, {share("s.rem", "s.tst")} AS sleep_rem_pct,
    (s.start + s.lead) / 60 AS sleep_start_min, (s.finish + s.lead) / 60 AS sleep_end_min,
    ((s.start + s.finish) / 2 + s.lead) / 60 AS midsleep_min,
    nullIf(hrv.average, 0) AS hrv_rmssd_ms, coalesce(ns.mean, ds.mean) AS spo2_mean_pct,
    coalesce(ns.low, ds.low) AS spo2_lt90_pct, nb.mean AS resp_sleep_brpm, db.mean AS resp_day_brpm,
    f.vo2max AS vo2max, f.fitness_age AS fitness_age,
    if(c.sessions > 0 OR c.n_dailies > 0, c.sessions, NULL) AS exercise_sessions,
    multiIf(c.sessions > 0, c.session_min, c.n_dailies > 0, 0.0, NULL) AS exercise_min,
    h.steps_by_hour AS steps_by_hour, n.asleep_by_hour AS asleep_by_hour, c.last_received_at AS last_received_at,
    c.n_records AS n_records, c.n_dailies AS n_dailies, c.n_sleeps AS n_sleeps, c.n_stress AS n_stress, c.n_hrv AS n_hrv,
    (toUnixTimestamp64Milli(d.received) / 1000 - (d.start + d.durationInSeconds)) / 3600 AS sync_lag_h
FROM (
    SELECT day, any(userId) AS userId, any(date) AS date, count() AS n_records, max(received) AS last_received_at,
           countIf(type = 'dailies') AS n_dailies, countIf(type = 'sleeps') AS n_sleeps, countIf(type = 'stressDetails') AS n_stress,
           countIf(type = 'hrv') AS n_hrv, countIf(type = 'activities' AND NOT isParent) AS sessions,
           sumIf(durationInSeconds, type = 'activities' AND NOT isParent) / 60 AS session_min
    FROM current GROUP BY day
) AS c
JOIN people USING (userId)
LEFT JOIN dailies AS d USING (day)
LEFT JOIN beats AS b USING (day)
LEFT JOIN {of_samples("type = 'stressDetails'", "timeOffsetStressLevelValues", "count() AS samples, countIf(v <> -1) AS worn, if(countIf(v >= 0) > 0, avgIf(v, v >= 0), NULL) AS level")} AS st USING (day)
LEFT JOIN {of_samples("type = 'stressDetails'", "timeOffsetBodyBatteryValues", "max(v) AS body_battery_max, min(v) AS body_battery_min", "v >= 0")} AS bb USING (day)
LEFT JOIN nights AS s USING (day)
LEFT JOIN {of_nights("timeOffsetSleepSpo2", OXYGEN)} AS ns USING (day)
LEFT JOIN {of_samples("type = 'pulseox' AND NOT onDemand", "timeOffsetSpo2Values", OXYGEN, "v > 0")} AS ds USING (day)
LEFT JOIN {of_nights("timeOffsetSleepRespiration", "avg(v) AS mean")} AS nb USING (day)
LEFT JOIN {of_samples("type = 'allDayRespiration'", "timeOffsetEpochToBreaths", "avg(v) AS mean", "v > 0")} AS db USING (day)
LEFT JOIN (
    SELECT day, groupArrayIf(hour, known) AS hours, groupArrayIf(total, known) AS totals,
           arrayMap(h -> if(has(hours, h), totals[indexOf(hours, h)], NULL), range(24)) AS steps_by_hour
    FROM (
        SELECT day, positiveModulo(toInt64(floor((start + offset) / 3600)), 24) AS hour, sum(steps) AS total,
               hour IS NOT NULL AND total IS NOT NULL AS known
        FROM current WHERE type = 'epochs' GROUP BY day, hour
    )
    GROUP BY day
) AS h USING (day)
LEFT JOIN asleep AS n USING (day)
LEFT JOIN (SELECT day, lastNightAvg AS average FROM current WHERE type = 'hrv' ORDER BY {NEWEST} LIMIT 1 BY day) AS hrv USING (day)
LEFT JOIN (
    SELECT day, argMaxIf(vo2Max, (received, body, place), vo2Max > 0) AS vo2max,
           argMaxIf(fitnessAge, (received, body, place), fitnessAge > 0) AS fitness_age
    FROM lines WHERE type = 'userMetrics' AND NOT {OF_OTHERS} GROUP BY day
) AS f USING (day)
"""

# Sums over the week and over the four weeks to its end, by hour of the clock; `eve` is the day before.
RHYTHM = """
CREATE TABLE rhythm ENGINE = Memory AS
WITH spans AS (
    SELECT participant_id, week, length, hour, x, x_before, alike FROM (
        SELECT participant_id, toMonday(own_date) + 7 * span.2 AS week, span.1 AS length, arrayResize(steps_by_hour, 24, NULL) AS xs,
            toDayOfWeek(own_date) > 1 OR 7 * span.2 < span.1 - 7 AS linked,
            arrayPushFront(arraySlice(xs, 1, 23), if(linked, eve.last_x, NULL)) AS befores,
            if(linked AND notEmpty(asleep_by_hour) AND notEmpty(eve.asleep), arrayMap((one, other) -> toNullable(60 - bitCount(bitXor(one, other))),
                asleep_by_hour, eve.asleep), arrayResize([]::Array(Nullable(Int64)), 24, NULL)) AS alikes
        FROM (SELECT *, arrayJoin([(7, 0), (28, 0), (28, 1), (28, 2), (28, 3)]) AS span FROM daily) AS days
        LEFT JOIN (SELECT day + 1 AS day, steps_by_hour[24] AS last_x, asleep_by_hour AS asleep FROM daily) AS eve USING (day)
    )
    ARRAY JOIN xs AS x, befores AS x_before, alikes AS alike, range(24) AS hour
), profile AS (
    SELECT participant_id, week, length, hour, sum(x) AS total, count(x) AS n, sum(x * x) AS squares,
           sum(pow(x - x_before, 2)) AS jumps, count(x - x_before) AS n_jumps, sum(alike) AS alike, count(alike) AS n_alike
    FROM spans GROUP BY participant_id, week, length, hour
), sums AS (
    SELECT participant_id, week, length, sum(n) AS hours, sum(squares) AS power, hours * power - pow(sum(total), 2) AS spread,
           if(spread > 1e-13 * hours * power, spread, NULL) AS real_spread,
           sum(jumps) / nullIf(sum(n_jumps), 0) AS jump, sum(alike) AS agreeing, sum(n_alike) / 24 AS pairs,
           sum(total * total / nullIf(n, 0)) - pow(sum(total), 2) / nullIf(hours, 0) AS between,
           min(n) > 0 AS whole, arrayMap(p -> p.2, arraySort(groupArray((hour, ifNull(total, 0) / n)))) AS hourly
    FROM profile GROUP BY participant_id, week, length
)
SELECT participant_id, week, length, toInt64(pairs) AS n_sleep_pairs, hours AS n_step_hours, arrayConcat(hourly, hourly) AS twice,
       arrayMax(arrayMap(h -> arraySum(arraySlice(twice, h, 10)), range(1, 25))) / 10 AS most,
       arrayMin(arrayMap(h -> arraySum(arraySlice(twice, h, 5)), range(1, 25))) / 5 AS least, hours >= if(length = 7, 120, 336) AS enough,
       if(pairs >= if(length = 7, 4, 14), -100 + 200 * agreeing / (1440 * pairs), NULL) AS sleep_regularity_index,
       if(enough AND whole, hours * between / real_spread, NULL) AS interdaily_stability,
       if(enough, hours * hours * jump / real_spread, NULL) AS intradaily_variability,
       if(enough AND whole, (most - least) / nullIf(most + least, 0), NULL) AS relative_amplitude
FROM sums
"""
MEASURES = (
    "sleep_regularity_index",
    "n_sleep_pairs",
    "interdaily_stability",
    "intradaily_variability",
    "relative_amplitude",
    "n_step_hours",
)


def of_rhythm(length: int, suffix: str) -> str:
    """Return the measures over so many days."""
    columns = ", ".join(f"{name} AS {name}{suffix}" for name in MEASURES)
    return f"(SELECT participant_id, week, {columns} FROM rhythm WHERE length = {length})"


def spread_of(column: str, where: str = "1") -> str:
    """Return the standard deviation of a sample, which one value has not."""
    return f"if(countIf({column}, {where}) > 1, stddevSampStableIf({column}, {where}), NULL)"


def on_the_clock(minutes: str) -> str:
    """Return minutes in (-720, 720]."""
    return f"({minutes} - 1440 * ceil(({minutes} - 720) / 1440))"


WEEKLY = f"""
CREATE TABLE weekly ENGINE = Memory AS
WITH days AS (
    SELECT *, toMonday(own_date) AS week, toFloat64(toDayOfWeek(own_date) - 1) AS nth, ifNull(is_valid_day, false) AS valid,
           midsleep_min * 2 * pi() / 1440 AS angle
    FROM daily
), means AS (
    SELECT participant_id, week, atan2(avg(sin(angle)), avg(cos(angle))) AS middle,
           atan2(avgIf(sin(angle), nth >= 5), avgIf(cos(angle), nth >= 5)) AS free,
           atan2(avgIf(sin(angle), nth < 5), avgIf(cos(angle), nth < 5)) AS working
    FROM days WHERE angle IS NOT NULL GROUP BY participant_id, week
), clock AS (
    SELECT participant_id, week, any(middle) * 720 / pi() AS middle_min, any(free - working) * 720 / pi() AS jet_min,
           count() AS nights, avg(2 * pow(sin((angle - middle) / 2), 2)) AS q,
           if(nights >= 2 AND q < 1, sqrt(-2 * log1p(-q)) * 720 / pi(), NULL) AS midsleep_sd_min
    FROM days JOIN means USING (participant_id, week) WHERE angle IS NOT NULL GROUP BY participant_id, week
), sums AS (
    SELECT participant_id, week, count() AS n_days, countIf(valid) AS n_valid_days, countIf(valid AND nth >= 5) AS n_valid_weekend_days,
        CAST(n_valid_days >= 4 AND n_valid_weekend_days >= 1, 'Bool') AS is_valid_week,
        sum(valid_minutes_hours) / 168 AS yield_hours, countIf(d.n_dailies > 0) / 7 AS completeness_dailies,
        countIf(d.n_sleeps > 0) / 7 AS completeness_sleeps, countIf(d.n_stress > 0) / 7 AS completeness_stress,
        countIf(d.n_hrv > 0) / 7 AS completeness_hrv, avg(wear_min) AS wear_min_mean, count(wear_min) AS n_wear_days,
        quantileExactInclusive(0.5)(sync_lag_h) AS sync_lag_h_median, avgIf(steps, valid) AS steps_mean,
        quantileExactInclusiveIf(0.5)(steps, valid) AS steps_median, {spread_of("steps", "valid")} AS steps_sd,
        sumIf(steps, valid) AS steps_sum,
        sumIf(steps, valid AND wear_min IS NOT NULL) / nullIf(sumIf(wear_min, valid AND steps IS NOT NULL) / 60, 0) AS steps_per_wear_h,
        countIf(steps, valid) AS n_steps_days, avgIf(distance_m, valid) AS distance_m_mean, avgIf(floors, valid) AS floors_mean,
        avgIf(active_kcal, valid) AS active_kcal_mean, avgIf(active_min, valid) AS active_min_mean, sum(moderate_min) AS moderate_min_sum,
        sum(vigorous_min) AS vigorous_min_sum, avgIf(resting_hr_bpm, valid) AS resting_hr_mean,
        countIf(resting_hr_bpm, valid) AS n_resting_hr_days,
        if(n_resting_hr_days >= 3, simpleLinearRegressionIf(nth, assumeNotNull(resting_hr_bpm), valid AND resting_hr_bpm IS NOT NULL).1, NULL)
            AS resting_hr_slope,
        avgIf(hr_mean_bpm, valid) AS hr_mean, countIf(hr_mean_bpm, valid) AS n_hr_days, avg(hrv_rmssd_ms) AS hrv_rmssd_mean,
        avg(log(hrv_rmssd_ms)) AS hrv_ln_rmssd_mean, 100 * {spread_of("hrv_rmssd_ms")} / avg(hrv_rmssd_ms) AS hrv_cv_pct,
        count(hrv_rmssd_ms) AS n_hrv_nights, avgIf(d.stress_mean, valid) AS stress_mean, countIf(d.stress_mean, valid) AS n_stress_days,
        sumIf(stress_rest_min, valid) AS rest, sumIf(stress_high_min, valid) AS high,
        nullIf(ifNull(rest, 0) + ifNull(sumIf(stress_low_min, valid), 0) + ifNull(sumIf(stress_medium_min, valid), 0) + ifNull(high, 0), 0)
            AS stressed,
        100 * high / stressed AS stress_high_pct, 100 * rest / stressed AS stress_rest_pct,
        avgIf(body_battery_max, valid) AS body_battery_max_mean, avgIf(body_battery_min, valid) AS body_battery_min_mean,
        avgIf(body_battery_charged, valid) AS body_battery_charged_mean, avgIf(body_battery_drained, valid) AS body_battery_drained_mean,
        avg(sleep_tst_min) / 60 AS sleep_tst_h_mean, {spread_of("sleep_tst_min")} / 60 AS sleep_tst_h_sd,
        avg(sleep_tib_min) / 60 AS sleep_tib_h_mean, avg(sleep_efficiency_pct) AS sleep_efficiency_mean,
        avg(sleep_waso_min) AS sleep_waso_min_mean, avg(sleep_deep_pct) AS sleep_deep_pct_mean,
        avg(sleep_light_pct) AS sleep_light_pct_mean, avg(sleep_rem_pct) AS sleep_rem_pct_mean,
        count(sleep_tst_min) AS n_nights, count(midsleep_min) AS n_midsleep_nights,
        100 * countIf(sleep_tst_min >= 420) / nullIf(count(sleep_tst_min), 0) AS nights_ge7h_pct,
        avg(spo2_mean_pct) AS spo2_mean, avg(spo2_lt90_pct) AS spo2_lt90_pct_mean, count(spo2_mean_pct) AS n_spo2_days,
        avg(resp_sleep_brpm) AS resp_sleep_mean, count(resp_sleep_brpm) AS n_resp_sleep_days,
        avgIf(resp_day_brpm, valid) AS resp_day_mean, countIf(resp_day_brpm, valid) AS n_resp_day_days,
        argMax(vo2max, nth) AS vo2max_last, argMax(fitness_age, nth) AS fitness_age_last,
        sum(exercise_sessions) AS exercise_sessions_sum, sum(exercise_min) AS exercise_min_sum,
        sum(d.n_records) AS n_records, max(d.last_received_at) AS last_received_at,
        if(moderate_min_sum IS NULL AND vigorous_min_sum IS NULL, NULL, ifNull(moderate_min_sum, 0) + 2 * ifNull(vigorous_min_sum, 0))
            AS mvpa_equiv_min,
        multiIf(mvpa_equiv_min > 300, 'exceeds', mvpa_equiv_min >= 150, 'meets', mvpa_equiv_min IS NULL, NULL,
                n_valid_days < 7, 'unknown', 'below') AS who_activity
    FROM days AS d GROUP BY participant_id, week
)
SELECT toString(week) AS date, * EXCEPT (week, rest, high, stressed, middle_min, jet_min, nights, q),
       {on_the_clock("middle_min")} AS midsleep_mean_min, {on_the_clock("jet_min")} AS social_jetlag_min
FROM sums
LEFT JOIN clock USING (participant_id, week)
LEFT JOIN {of_rhythm(7, "")} AS one USING (participant_id, week)
LEFT JOIN {of_rhythm(28, "_28d")} AS four USING (participant_id, week)
"""
STEPS = (SUPERSEDED, OTHERS, CURRENT, DAILIES, NIGHTS, AWAKE_AND_ASLEEP, ASLEEP, BEATS, DAILY, RHYTHM, WEEKLY)


def compute(work: Work, session: Session) -> None:
    """Both tables of all weeks in the lake."""
    session.query("SET " + ", ".join(f"{name} = {value}" for name, value in SETTINGS.items()))
    session.query(PEOPLE.replace("{people}", str(work.people)))
    session.query(READ.replace("{raw}", work.raw))
    for step in STEPS:
        session.query(step)
    daily = session.query("SELECT * EXCEPT (day, own_date) FROM daily", "ArrowTable")
    weekly = session.query("SELECT * FROM weekly", "ArrowTable")
    for name in ("steps_by_hour", "asleep_by_hour"):  # an array that is missing is empty in ClickHouse
        lists = daily[name].combine_chunks()
        lists = pc.if_else(pc.equal(pc.list_value_length(lists), 0), pa.scalar(None, lists.type), lists)
        daily = daily.set_column(daily.column_names.index(name), name, lists)
    pq.write_table(daily, work.out / "daily.parquet", compression="zstd")
    pq.write_table(weekly, work.out / "weekly.parquet", compression="zstd")


if __name__ == "__main__":
    with Session() as opened:
        opened.query("SELECT 1")
        run_peer(lambda work: compute(work, opened))
