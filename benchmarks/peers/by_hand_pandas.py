"""Peer (c): the tables in pandas. Lines are parsed one by one by orjson, sample maps become NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from glob import glob
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from benchmarks.peers.program import Work, run_peer

NUMBERS = [
    "startTimeInSeconds",
    "startTimeOffsetInSeconds",
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
    "deepSleepDurationInSeconds",
    "lightSleepDurationInSeconds",
    "remSleepInSeconds",
    "lastNightAvg",
    "vo2Max",
    "fitnessAge",
]
FIELDS = [
    "userId",
    "_summary_type",
    "_received_at",
    "_ingest_id",
    "summaryId",
    "activityType",
    "validation",
    "onDemand",
    "isParent",
    *NUMBERS,
    "averageStresslevel",
    "sleepLevelsMap",
    "timeOffsetHeartRateSamples",
    "timeOffsetStressLevelValues",
    "timeOffsetBodyBatteryValues",
    "timeOffsetSleepSpo2",
    "timeOffsetSleepRespiration",
    "timeOffsetSpo2Values",
    "timeOffsetEpochToBreaths",
]
ROW = ["participant_id", "date"]
WEEK = ["participant_id", "week"]


def lines(work: Work) -> Iterator[tuple[object, ...]]:
    """Yield the fields of each line of enrolled people."""
    people = pd.read_csv(work.people, dtype=str).set_index("user_id")["participant_id"].to_dict()
    for path in sorted(glob(work.raw)):
        date = path.split("date=")[1][:10]
        for line in Path(path).read_bytes().splitlines():
            found = orjson.loads(line)
            get = found.get
            if get("userId") in people:
                start = get("startTimeInSeconds", get("measurementTimeInSeconds"))
                if start is None and "summary" in found:
                    start = found["summary"].get("startTimeInSeconds")
                yield (people[get("userId")], date, start, *map(get, FIELDS))


def current(work: Work) -> pd.DataFrame:
    """Return the records that no later one supersedes, later ones first."""
    frame = pd.DataFrame.from_records(list(lines(work)), columns=[*ROW, "start", *FIELDS])
    frame["averageStressLevel"] = frame["averageStressLevel"].fillna(frame["averageStresslevel"])
    frame[["start", *NUMBERS]] = frame[["start", *NUMBERS]].apply(pd.to_numeric, errors="coerce")
    frame["type"] = frame["_summary_type"].replace("manuallyUpdatedActivities", "activities")
    kind = frame["type"]
    frame["key_s"] = frame["start"].where(~kind.isin(["activities", "userMetrics"]))
    frame["key"] = frame["activityType"].where(kind == "epochs", frame["summaryId"].where(kind == "activities"))
    frame["onDemand"] = frame["onDemand"].eq(other=True)
    frame["isParent"] = frame["isParent"].eq(other=True)
    order = ["_received_at", "durationInSeconds", "_ingest_id", "summaryId"]
    frame = frame.sort_values(order, ascending=False, na_position="last")
    frame = frame.drop_duplicates(["userId", "date", "type", "key_s", "key", "onDemand"])
    frame["midnight"] = pd.to_datetime(frame["date"]).astype("datetime64[s]").astype("int64")
    return frame


def longest(records: pd.DataFrame) -> pd.DataFrame:
    """One record a participant and date."""
    order = ["durationInSeconds", "_received_at", "_ingest_id"]
    return records.sort_values(order, ascending=False, na_position="last").drop_duplicates(ROW)


def samples(records: pd.DataFrame, field: str) -> pd.DataFrame:
    """Return the samples of a map, one a row: participant_id, date, t, v (and the row's number)."""
    with_any = records[records[field].notna()]
    maps = with_any[field].to_list()
    sizes = [len(found) for found in maps]
    total = sum(sizes)
    t = np.fromiter((int(key) for found in maps for key in found), np.int64, total)
    v = np.fromiter((value for found in maps for value in found.values()), float, total)
    row = np.repeat(np.arange(len(maps)), sizes)
    keys = {name: with_any[name].to_numpy()[row] for name in ROW}
    return pd.DataFrame({**keys, "row": row, "t": t, "v": v})


def beats(dailies: pd.DataFrame) -> pd.DataFrame:
    """Wear and mean of the heart rate."""
    dailies = dailies[dailies["timeOffsetHeartRateSamples"].notna()]
    found = samples(dailies, "timeOffsetHeartRateSamples")
    lead = (dailies["start"] + dailies["startTimeOffsetInSeconds"] - dailies["midnight"]).to_numpy(int)
    found = found[found["v"] > 0]
    row, t = found["row"].to_numpy(), found["t"].to_numpy()
    slots = pd.Series(np.unique(row * 1_000_000 + t // 15) // 1_000_000).value_counts()
    minutes = np.unique(row * 1_000_000 + (t + lead[row]) // 60 + 60_000)
    hours = pd.Series(minutes // 1_000_000 * 10_000 + minutes % 1_000_000 // 60).value_counts()
    enough = hours[hours >= 40].index.to_series()
    out = dailies[ROW].reset_index(drop=True)
    out["slots"] = slots.reindex(out.index)
    out["hr_mean_bpm"] = found.groupby("row")["v"].mean().reindex(out.index)
    out["valid_minutes_hours"] = (enough // 10_000).value_counts().reindex(out.index).fillna(0)
    out.loc[out["slots"].isna(), "valid_minutes_hours"] = np.nan
    return out


def oxygen(found: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Mean and share below 90."""
    found = found[found["v"] > 0].assign(low=lambda f: 100.0 * (f["v"] < 90))
    return found.groupby(ROW).agg(**{f"{prefix}_mean": ("v", "mean"), f"{prefix}_low": ("low", "mean")}).reset_index()


def mean(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mean of the values above 0."""
    return found[found["v"] > 0].groupby(ROW)["v"].mean().rename(name).reset_index()


def nights(sleeps: pd.DataFrame) -> pd.DataFrame:
    """Return the main sleep of each date."""
    unseen = sleeps["validation"].fillna("").str.upper().isin(["OFF_WRIST", "MANUAL"])
    s = longest(sleeps[(sleeps["durationInSeconds"] > 0) & ~unseen])
    asleep = s["durationInSeconds"]
    in_bed = asleep + s["awakeDurationInSeconds"].fillna(0) + s["unmeasurableSleepInSeconds"].fillna(0)

    def last(start: float, usual: float, levels: object) -> float:
        spans = [span for level in levels.values() for span in level] if isinstance(levels, dict) else []
        ends = [span["endTimeInSeconds"] for span in spans]
        return max((end for end in ends if start < end <= start + 172800), default=start + usual)

    finish = [last(*found) for found in zip(s["start"], in_bed, s["sleepLevelsMap"], strict=True)]
    to_local = s["startTimeOffsetInSeconds"] - s["midnight"]
    out = s[ROW].assign(
        sleep_tst_min=asleep / 60,
        sleep_tib_min=in_bed / 60,
        sleep_waso_min=s["awakeDurationInSeconds"] / 60,
        sleep_efficiency_pct=100 * asleep / in_bed,
        sleep_deep_pct=100 * s["deepSleepDurationInSeconds"] / asleep,
        sleep_light_pct=100 * s["lightSleepDurationInSeconds"] / asleep,
        sleep_rem_pct=100 * s["remSleepInSeconds"] / asleep,
        sleep_start_min=(s["start"] + to_local) / 60,
        sleep_end_min=(finish + to_local) / 60,
    )
    out["midsleep_min"] = (out["sleep_start_min"] + out["sleep_end_min"]) / 2
    out["asleep_by_hour"] = minutes_asleep(out, s["sleepLevelsMap"], to_local)
    spo2 = oxygen(samples(s, "timeOffsetSleepSpo2"), "night")
    breaths = mean(samples(s, "timeOffsetSleepRespiration"), "resp_sleep_brpm")
    return out.merge(spo2, on=ROW, how="left").merge(breaths, on=ROW, how="left")


def minutes_asleep(nights: pd.DataFrame, levels: pd.Series, to_local: pd.Series) -> list[list[int] | None]:
    """Return the minutes in the night and in no awake span, as bits of the 24 hours of the clock."""
    timed = nights["sleep_start_min"].notna().to_numpy()
    spans = [found.get("awake", []) if isinstance(found, dict) else [] for found in levels]
    row = np.repeat(np.arange(len(spans)), [len(found) for found in spans])
    times = [(span["startTimeInSeconds"], span["endTimeInSeconds"]) for found in spans for span in found]
    awake = (np.array(times, float).reshape(-1, 2) + to_local.to_numpy()[row, None]) / 60
    known = timed[row]
    whole = nights.loc[timed, ["sleep_start_min", "sleep_end_min"]].to_numpy()
    inside = within(np.flatnonzero(timed), whole, len(nights)) & ~within(row[known], awake[known], len(nights))
    by_hour = inside.reshape(-1, 2, 24, 60).any(axis=1) @ (1 << np.arange(60))
    return [hours if found else None for hours, found in zip(by_hour.tolist(), timed, strict=True)]


def within(row: np.ndarray, spans: np.ndarray, rows: int) -> np.ndarray:
    """For each row the minutes, of the day before and of the day, that begin in one of its spans."""
    first, past = np.clip(np.ceil(spans).astype(int) + 1440, 0, 2880).T
    steps = np.zeros((rows, 2881), np.int8)
    np.add.at(steps, (row, first), 1)
    np.add.at(steps, (row, past), -1)
    return steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0


def latest(records: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """Return the values of the record received last."""
    newest = records.drop_duplicates(ROW)
    return newest[ROW].assign(
        **{name: newest[field].astype(float).where(newest[field].astype(float) > 0) for name, field in columns.items()}
    )


def by_hour(epochs: pd.DataFrame) -> pd.DataFrame:
    """Steps of each local hour."""
    hour = ((epochs["start"] + epochs["startTimeOffsetInSeconds"]) // 3600 % 24).astype(int)
    wide = epochs.assign(hour=hour).pivot_table(index=ROW, columns="hour", values="steps", aggfunc="sum")
    wide = wide.reindex(columns=range(24))
    listed = [[None if x != x else x for x in row] for row in wide.to_numpy().tolist()]  # noqa: PLR0124  # NaN
    return wide.index.to_frame(index=False).assign(steps_by_hour=listed)


def counts(now: pd.DataFrame) -> pd.DataFrame:
    """Records of each kind, and exercise."""
    kind, session = now["type"], (now["type"] == "activities") & ~now["isParent"]
    return (
        now[ROW]
        .assign(
            n_records=1,
            n_dailies=kind == "dailies",
            n_sleeps=kind == "sleeps",
            n_stress=kind == "stressDetails",
            n_hrv=kind == "hrv",
            sessions=session,
            session_s=now["durationInSeconds"].where(session, 0.0).astype(float),
        )
        .groupby(ROW)
        .sum()
        .reset_index()
    )


def daily(now: pd.DataFrame) -> pd.DataFrame:
    """One row a participant and date."""
    of = dict(iter(now.groupby("type")))
    dailies = longest(of["dailies"])
    stress = samples(of["stressDetails"], "timeOffsetStressLevelValues")
    stress = stress.assign(worn=stress["v"] != -1, level=stress["v"].where(stress["v"] >= 0))
    battery = samples(of["stressDetails"], "timeOffsetBodyBatteryValues")
    battery = battery[battery["v"] >= 0].groupby(ROW)["v"].agg(body_battery_max="max", body_battery_min="min")
    all_day = of["pulseox"][~of["pulseox"]["onDemand"]]
    received = now.drop_duplicates(ROW)[[*ROW, "_received_at"]].rename(columns={"_received_at": "last_received_at"})
    table = counts(now).merge(received, on=ROW)
    for piece in (
        dailies.drop(columns=["type", "midnight"]),
        beats(dailies),
        stress.groupby(ROW).agg(worn=("worn", "sum"), level=("level", "mean")).reset_index(),
        battery.reset_index(),
        nights(of["sleeps"]),
        oxygen(samples(all_day, "timeOffsetSpo2Values"), "day"),
        mean(samples(of["allDayRespiration"], "timeOffsetEpochToBreaths"), "resp_day_brpm"),
        latest(of["hrv"], hrv_rmssd_ms="lastNightAvg"),
        latest(of["userMetrics"], vo2max="vo2Max", fitness_age="fitnessAge"),
        by_hour(of["epochs"]),
    ):
        table = table.merge(piece, on=ROW, how="left")
    return finish(table)


def finish(day: pd.DataFrame) -> pd.DataFrame:
    """Return the columns under their names."""
    number = {name: pd.to_numeric(day[name]).astype(float) for name in FIELDS if name.endswith(("Seconds", "Minute"))}
    received, last = (
        pd.to_datetime(day[name]).astype("datetime64[ms, UTC]") for name in ("_received_at", "last_received_at")
    )
    received_s = (received - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    known = (day["sessions"] > 0) | (day["n_dailies"] > 0)
    out = day[
        [*ROW, "hr_mean_bpm", "valid_minutes_hours", "body_battery_max", "body_battery_min", "hrv_rmssd_ms"]
    ].copy()
    kept = "vo2max fitness_age resp_sleep_brpm resp_day_brpm steps_by_hour n_records n_dailies n_sleeps n_stress n_hrv"
    kept += " asleep_by_hour"
    kept += " sleep_tst_min sleep_tib_min sleep_waso_min sleep_efficiency_pct sleep_deep_pct sleep_light_pct"
    kept += " sleep_rem_pct sleep_start_min sleep_end_min midsleep_min"
    for name in kept.split():
        out[name] = day[name]
    for name, field in {
        "steps": "steps",
        "distance_m": "distanceInMeters",
        "floors": "floorsClimbed",
        "active_kcal": "activeKilocalories",
        "body_battery_charged": "bodyBatteryChargedValue",
        "body_battery_drained": "bodyBatteryDrainedValue",
    }.items():
        out[name] = day[field].astype(float)
    for name, field in {
        "active_min": "activeTimeInSeconds",
        "moderate_min": "moderateIntensityDurationInSeconds",
        "vigorous_min": "vigorousIntensityDurationInSeconds",
        **{f"stress_{level}_min": f"{level}StressDurationInSeconds" for level in ("rest", "low", "medium", "high")},
    }.items():
        out[name] = number[field] / 60
    for name, field in {"resting_hr_bpm": "resting", "hr_min_bpm": "min", "hr_max_bpm": "max"}.items():
        rate = number[f"{field}HeartRateInBeatsPerMinute"]
        out[name] = rate.where(rate > 0)
    out["last_received_at"] = last
    level = day["averageStressLevel"].astype(float)
    out["wear_min"] = (day["slots"] / 4).fillna(3.0 * day["worn"])
    source = np.where(day["slots"].notna(), "heart_rate", np.where(day["worn"].notna(), "stress", None))
    out["wear_source"] = source
    out["is_valid_day"] = (out["wear_min"] >= 600).astype("boolean").mask(out["wear_min"].isna())
    out["stress_mean"] = level.where(level >= 0).fillna(day["level"])
    out["spo2_mean_pct"] = day["night_mean"].fillna(day["day_mean"])
    out["spo2_lt90_pct"] = day["night_low"].fillna(day["day_low"])
    out["exercise_sessions"] = day["sessions"].where(known)
    out["exercise_min"] = (day["session_s"] / 60).where(known)
    out["sync_lag_h"] = (
        received_s - (day["start_x" if "start_x" in day else "start"] + number["durationInSeconds"])
    ) / 3600
    return out


VALID = {
    "steps": "steps_mean",
    "distance_m": "distance_m_mean",
    "floors": "floors_mean",
    "active_kcal": "active_kcal_mean",
    "active_min": "active_min_mean",
    "resting_hr_bpm": "resting_hr_mean",
    "hr_mean_bpm": "hr_mean",
    "stress_mean": "stress_mean",
    "body_battery_max": "body_battery_max_mean",
    "body_battery_min": "body_battery_min_mean",
    "body_battery_charged": "body_battery_charged_mean",
    "body_battery_drained": "body_battery_drained_mean",
    "spo2_mean_pct": "spo2_mean",
    "spo2_lt90_pct": "spo2_lt90_pct_mean",
    "resp_sleep_brpm": "resp_sleep_mean",
    "resp_day_brpm": "resp_day_mean",
}
COUNTED = {
    "steps": "n_steps_days",
    "resting_hr_bpm": "n_resting_hr_days",
    "hr_mean_bpm": "n_hr_days",
    "stress_mean": "n_stress_days",
    "spo2_mean_pct": "n_spo2_days",
    "resp_sleep_brpm": "n_resp_sleep_days",
    "resp_day_brpm": "n_resp_day_days",
}
NIGHTS = {
    "sleep_efficiency_pct": "sleep_efficiency_mean",
    "sleep_waso_min": "sleep_waso_min_mean",
    "sleep_deep_pct": "sleep_deep_pct_mean",
    "sleep_light_pct": "sleep_light_pct_mean",
    "sleep_rem_pct": "sleep_rem_pct_mean",
}


def weekly(days: pd.DataFrame) -> pd.DataFrame:
    """One row a participant and week."""
    date = pd.to_datetime(days["date"])
    d = days.assign(n=date.dt.day_of_week, valid=days["is_valid_day"].fillna(value=False).astype(bool))
    d["week"] = (date - pd.to_timedelta(d["n"], unit="D")).dt.strftime("%Y-%m-%d")
    d["weekend"] = d["valid"] & (d["n"] >= 5)
    d["ln_hrv"] = np.log(d["hrv_rmssd_ms"])
    d["long"] = (d["sleep_tst_min"] >= 420).where(d["sleep_tst_min"].notna()).astype(float)
    for name in ("dailies", "sleeps", "stress", "hrv"):
        d[f"has_{name}"] = d[f"n_{name}"] > 0
    g, v = d.groupby(WEEK), d[d["valid"]].groupby(WEEK)
    out = over_all_days(g)
    out[list(VALID.values())] = v[list(VALID)].mean().set_axis(list(VALID.values()), axis=1).reindex(out.index)
    counted = v[list(COUNTED)].count().set_axis(list(COUNTED.values()), axis=1)
    out[list(COUNTED.values())] = counted.reindex(out.index).fillna(0)
    steps = v["steps"].agg(["median", "std"])
    out["steps_median"], out["steps_sd"], out["steps_sum"] = steps["median"], steps["std"], v["steps"].sum(min_count=1)
    both = d[d["valid"] & d["steps"].notna() & d["wear_min"].notna()].groupby(WEEK)[["steps", "wear_min"]].sum()
    out["steps_per_wear_h"] = both["steps"] / (both["wear_min"] / 60).replace(0, np.nan)
    out["resting_hr_slope"] = slopes(d[d["valid"] & d["resting_hr_bpm"].notna()])
    levels = v[[f"stress_{level}_min" for level in ("rest", "low", "medium", "high")]].sum(min_count=1)
    total = levels.sum(axis=1).replace(0, np.nan)
    out["stress_rest_pct"] = 100 * levels["stress_rest_min"] / total
    out["stress_high_pct"] = 100 * levels["stress_high_min"] / total
    out = out.join(clock(d)).join(rhythm(d))
    out["n_midsleep_nights"] = out["n_midsleep_nights"].fillna(0)
    return activity(out).reset_index().rename(columns={"week": "date"})


def over_all_days(g: pd.api.typing.DataFrameGroupBy) -> pd.DataFrame:
    """Return what counts every day, valid or not."""
    out = pd.DataFrame(
        {"n_days": g.size(), "n_valid_days": g["valid"].sum(), "n_valid_weekend_days": g["weekend"].sum()}
    )
    out["is_valid_week"] = (out["n_valid_days"] >= 4) & (out["n_valid_weekend_days"] >= 1)
    out["yield_hours"] = g["valid_minutes_hours"].sum(min_count=1) / 168
    for name in ("dailies", "sleeps", "stress", "hrv"):
        out[f"completeness_{name}"] = g[f"has_{name}"].sum() / 7
    out["wear_min_mean"], out["n_wear_days"] = g["wear_min"].mean(), g["wear_min"].count()
    out["sync_lag_h_median"] = g["sync_lag_h"].median()
    for name in ("moderate_min", "vigorous_min", "exercise_sessions", "exercise_min"):
        out[f"{name}_sum"] = g[name].sum(min_count=1)
    hrv, sleep = g["hrv_rmssd_ms"], g["sleep_tst_min"]
    out["hrv_rmssd_mean"], out["hrv_ln_rmssd_mean"] = hrv.mean(), g["ln_hrv"].mean()
    out["hrv_cv_pct"], out["n_hrv_nights"] = 100 * hrv.std() / hrv.mean(), hrv.count()
    out["sleep_tst_h_mean"], out["sleep_tst_h_sd"], out["n_nights"] = sleep.mean() / 60, sleep.std() / 60, sleep.count()
    out["sleep_tib_h_mean"] = g["sleep_tib_min"].mean() / 60
    for old, new in NIGHTS.items():
        out[new] = g[old].mean()
    out["nights_ge7h_pct"] = 100 * g["long"].mean()
    out["vo2max_last"], out["fitness_age_last"] = g["vo2max"].last(), g["fitness_age"].last()
    out["n_records"], out["last_received_at"] = g["n_records"].sum(), g["last_received_at"].max()
    return out


def slopes(days: pd.DataFrame) -> pd.Series:
    """Least squares of the resting heart rate over the day of the week, from three days on."""
    x, y = days["n"], days["resting_hr_bpm"]
    means = days.groupby(WEEK)[["n", "resting_hr_bpm"]].transform("mean")
    dx, dy = x - means["n"], y - means["resting_hr_bpm"]
    sums = days[WEEK].assign(xy=dx * dy, xx=dx * dx, one=1).groupby(WEEK).sum()
    return (sums["xy"] / sums["xx"]).where(sums["one"] >= 3)


def clock(days: pd.DataFrame) -> pd.DataFrame:
    """Circular statistics of the midsleep."""
    d = days[days["midsleep_min"].notna()].copy()
    angle = d["midsleep_min"] * (2 * np.pi / 1440)
    d["sin"], d["cos"], d["angle"] = np.sin(angle), np.cos(angle), angle

    def middle(rows: pd.DataFrame) -> pd.Series:
        means = rows.groupby(WEEK)[["sin", "cos"]].mean()
        return np.arctan2(means["sin"], means["cos"])

    whole = middle(d)
    jet = (middle(d[d["n"] >= 5]) - middle(d[d["n"] < 5])) * (720 / np.pi)
    d = d.join(whole.rename("middle"), on=WEEK)
    d["q"] = 2 * np.sin((d["angle"] - d["middle"]) / 2) ** 2
    n, q, minutes = d.groupby(WEEK).size(), d.groupby(WEEK)["q"].mean(), whole * (720 / np.pi)
    out = pd.DataFrame({"n_midsleep_nights": n})
    out["midsleep_mean_min"] = minutes.where(minutes > -720, minutes + 1440)
    out["midsleep_sd_min"] = (np.sqrt(-2 * np.log(1 - q)) * (720 / np.pi)).where(n >= 2)
    out["social_jetlag_min"] = jet.mask(jet <= -720, jet + 1440).mask(jet > 720, jet - 1440)
    return out


def hours(lists: pd.Series) -> np.ndarray:
    """Lists of 24 as rows; what is missing is NaN."""
    return np.array([found if isinstance(found, list) else [np.nan] * 24 for found in lists], float)


def rhythm(days: pd.DataFrame) -> pd.DataFrame:
    """Regularity of sleep and rhythm of steps, over the week and, as `..._28d`, over it and the three before."""
    d = days.sort_values(ROW)
    monday, who = pd.to_datetime(d["week"]), d["participant_id"].to_numpy()
    number = (monday + pd.to_timedelta(d["n"], unit="D")).to_numpy()
    x, has_night = hours(d["steps_by_hour"]), d["asleep_by_hour"].map(lambda found: isinstance(found, list)).to_numpy()
    asleep = np.array([found if isinstance(found, list) else [0] * 24 for found in d["asleep_by_hour"]])
    before = np.arange(len(d)) - 1
    follows = (who == who[before]) & (number - number[before] == np.timedelta64(1, "D"))
    jumps = np.diff(x, axis=1, prepend=np.where(follows, x[before, 23], np.nan)[:, None]) ** 2
    pair = follows & has_night & has_night[before]
    agreeing = np.where(pair, 1440.0 - np.bitwise_count(asleep ^ asleep[before]).sum(axis=1), 0)
    sums = pd.DataFrame(
        np.hstack([np.nan_to_num(x), ~np.isnan(x)]), columns=[f"{k}{h}" for k in "sn" for h in range(24)]
    )
    sums["squares"] = np.nansum(x * x, axis=1)
    sums["jumps"], sums["n_jumps"] = np.nansum(jumps[:, 1:], axis=1), (~np.isnan(jumps[:, 1:])).sum(axis=1)
    eve = pd.DataFrame({"jumps": np.nan_to_num(jumps[:, 0]), "n_jumps": ~np.isnan(jumps[:, 0]) * 1})
    eve["agreeing"], eve["n_pairs"] = agreeing, pair * 1
    first, found = (d["n"] == 0).to_numpy(), []
    for length, later in ((7, 0), (28, 0), (28, 1), (28, 2), (28, 3)):
        near = eve.mul(~first | (7 * later < length - 7), axis=0)
        week = (monday + pd.Timedelta(days=7 * later)).dt.strftime("%Y-%m-%d").to_numpy()
        found.append(sums.add(near, fill_value=0).assign(participant_id=who, week=week, length=length))
    total = measures(pd.concat(found).groupby([*WEEK, "length"]).sum())
    return total.xs(7, level="length").join(total.xs(28, level="length"), rsuffix="_28d")


def measures(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the four measures and their denominators."""
    s, n_hour = (sums[[f"{kind}{hour}" for hour in range(24)]].to_numpy() for kind in "sn")
    total, n = s.sum(axis=1), n_hour.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = s / n_hour  # without a number where an hour of the clock was never seen, and then all below is
        spread = n * sums["squares"] - total**2
        spread = spread.where(spread > 0)
        between = ((profile - (total / n)[:, None]) ** 2).mean(axis=1)
        most, least = windows(profile, 10).max(axis=1), windows(profile, 5).min(axis=1)
        amplitude = (most - least) / (most + least)
    out = pd.DataFrame(index=sums.index)
    pairs = sums["n_pairs"]
    out["sleep_regularity_index"] = (-100 + 200 * sums["agreeing"] / (1440 * pairs)).where(pairs >= 3)
    out["n_sleep_pairs"] = pairs.astype(int)
    out["interdaily_stability"] = (n * n * between / spread).where(n >= 72)
    out["intradaily_variability"] = (n * n * sums["jumps"] / (sums["n_jumps"] * spread)).where(n >= 72)
    out["relative_amplitude"] = np.where(n >= 72, amplitude, np.nan)
    out["n_step_hours"] = n.astype(int)
    return out


def windows(profile: np.ndarray, length: int) -> np.ndarray:
    """Means over so many hours from each hour of the clock on."""
    around = np.hstack([profile, profile[:, : length - 1]])
    return np.lib.stride_tricks.sliding_window_view(around, length, axis=1).mean(axis=2)


def activity(week: pd.DataFrame) -> pd.DataFrame:
    """Equivalent minutes, and where they lie in WHO's range."""
    moderate, vigorous = week["moderate_min_sum"], week["vigorous_min_sum"]
    m = (moderate.fillna(0) + 2 * vigorous.fillna(0)).where(moderate.notna() | vigorous.notna())
    found = [m > 300, m >= 150, m.notna() & (week["n_valid_days"] < 7), m.notna()]
    who = np.select(found, ["exceeds", "meets", "unknown", "below"], default="")
    return week.assign(mvpa_equiv_min=m, who_activity=pd.Series(who, index=week.index).replace("", None))


def compute(work: Work) -> None:
    """Both tables of all weeks in the lake."""
    days = daily(current(work)).sort_values(["date", "participant_id"])
    days.to_parquet(work.out / "daily.parquet", index=False)
    weekly(days).to_parquet(work.out / "weekly.parquet", index=False)


if __name__ == "__main__":
    run_peer(compute)
