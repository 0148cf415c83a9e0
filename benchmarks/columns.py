"""What every peer of the comparison has to produce, column by column.

Belongs here: names, and nothing that computes. All of the daily and weekly tables but what is said to be left out;
the table of the participants' status is ours alone.
"""

from __future__ import annotations

KEYS = ("participant_id", "date")

DAILY = (
    *("wear_min", "wear_source", "valid_minutes_hours", "is_valid_day"),
    *("steps", "distance_m", "floors", "active_kcal", "active_min", "moderate_min", "vigorous_min"),
    *("resting_hr_bpm", "hr_mean_bpm", "hr_min_bpm", "hr_max_bpm"),
    *("stress_mean", "stress_rest_min", "stress_low_min", "stress_medium_min", "stress_high_min"),
    *("body_battery_max", "body_battery_min", "body_battery_charged", "body_battery_drained"),
    *("sleep_tst_min", "sleep_tib_min", "sleep_waso_min", "sleep_efficiency_pct"),
    *("sleep_deep_pct", "sleep_light_pct", "sleep_rem_pct", "sleep_start_min", "sleep_end_min", "midsleep_min"),
    "asleep_by_hour",
    *("hrv_rmssd_ms", "spo2_mean_pct", "spo2_lt90_pct", "resp_sleep_brpm", "resp_day_brpm", "vo2max", "fitness_age"),
    *("exercise_sessions", "exercise_min", "steps_by_hour"),
    *("n_records", "n_dailies", "n_sleeps", "n_stress", "n_hrv", "last_received_at", "sync_lag_h"),
)

WEEKLY = (
    *("n_days", "n_valid_days", "n_valid_weekend_days", "is_valid_week", "yield_hours"),
    *("completeness_dailies", "completeness_sleeps", "completeness_stress", "completeness_hrv"),
    *("wear_min_mean", "n_wear_days", "sync_lag_h_median"),
    *("steps_mean", "steps_median", "steps_sd", "steps_sum", "steps_per_wear_h", "n_steps_days"),
    *("distance_m_mean", "floors_mean", "active_kcal_mean", "active_min_mean"),
    *("moderate_min_sum", "vigorous_min_sum", "mvpa_equiv_min", "who_activity"),
    *("resting_hr_mean", "resting_hr_slope", "n_resting_hr_days", "hr_mean", "n_hr_days"),
    *("hrv_rmssd_mean", "hrv_ln_rmssd_mean", "hrv_cv_pct", "n_hrv_nights"),
    *("stress_mean", "stress_high_pct", "stress_rest_pct", "n_stress_days"),
    *("body_battery_max_mean", "body_battery_min_mean", "body_battery_charged_mean", "body_battery_drained_mean"),
    *("sleep_tst_h_mean", "sleep_tst_h_sd", "sleep_tib_h_mean", "sleep_efficiency_mean", "sleep_waso_min_mean"),
    *("sleep_deep_pct_mean", "sleep_light_pct_mean", "sleep_rem_pct_mean", "n_nights"),
    *("midsleep_mean_min", "midsleep_sd_min", "n_midsleep_nights", "social_jetlag_min", "nights_ge7h_pct"),
    *("sleep_regularity_index", "n_sleep_pairs", "sleep_regularity_index_28d", "n_sleep_pairs_28d"),
    *("spo2_mean", "spo2_lt90_pct_mean", "n_spo2_days", "resp_sleep_mean", "n_resp_sleep_days"),
    *("resp_day_mean", "n_resp_day_days", "vo2max_last", "fitness_age_last"),
    *("interdaily_stability", "intradaily_variability", "relative_amplitude", "n_step_hours"),
    *("interdaily_stability_28d", "intradaily_variability_28d", "relative_amplitude_28d", "n_step_hours_28d"),
    *("exercise_sessions_sum", "exercise_min_sum", "n_records", "last_received_at"),
)
"""Left out: what a run notes of itself (`computed_at`, `metrics_version`)."""
