"""指標の日本語の説明。What the dictionary says in Japanese, by table and column.

Belongs here: Japanese texts and nothing else; a test holds that every column has one and that there is no other.
Formulas, units, ranges and sources need no translation and stand with the entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Japanese:
    """The term that Japanese sleep and activity research uses, what it is, and when it is valid or null."""

    term: str
    text: str
    rule: str = ""


_J = Japanese

_ID_RULE = "計算の時点で user_id_map から引く。処理済みデータに Garmin の ID は含まれない"
_DAILIES = "その日の dailies レコードの値"
_FROM_0 = f"{_DAILIES}。負の値は欠損とする"
_ABOVE_0 = f"{_DAILIES}。0 以下は欠損とする"
_BOUTS = f"{_FROM_0}。Garmin は 10 分以上続いた活動だけを数えることがある"
_STRESS_RECORDS = "その日のすべての stressDetails レコードの測定値"
_SLEEP = (
    "その日の主睡眠。重なる睡眠のうちでは確定度の最も高いもの（同じなら最後に受信したもの、次に最も長いもの）を採り、"
    "そのなかで最も長い睡眠とする。OFF_WRIST と MANUAL は除く。主睡眠がなければ欠損"
)
_TIMED = "その日の主睡眠。0 時より前は負の値。開始時刻か時差がなければ欠損"
_NEWEST = "最後に受信したレコードの値。0 以下は欠損とする"
_LATEST = "その日のレコードのうち、項目ごとに最後に受信した値。0 以下は値とみなさない"
_STRESS_TIME = f"{_FROM_0}。レコードの長さを超える値も欠損とする"
_SESSIONS = (
    "activities と manuallyUpdatedActivities を現地の開始日で数え、親レコードは除く。dailies があって活動がない日は 0"
)
_CURRENT = "ほかの版に置き換えられておらず、その日に最も長く装着したアカウントのもの"

_DAILY: dict[str, Japanese] = {
    "participant_id": _J("参加者 ID", "仮名化された参加者の番号", _ID_RULE),
    "date": _J("日付", "現地の暦日", "YYYY-MM-DD 形式の文字列"),
    "wear_min": _J(
        "装着時間",
        "機器を装着していた時間。心拍のある分を数え、心拍がない日はストレスの測定値から推定する",
        "心拍の測定値は、その時刻までの時間を表す。どちらの測定値もなければ欠損。覚醒中の装着時間ではない",
    ),
    "wear_source": _J("装着時間の算出元", "wear_min を心拍とストレスのどちらから求めたか", "wear_min が欠損なら欠損"),
    "valid_minutes_hours": _J(
        "有効時間数",
        "十分なデータがある時間帯の数。心拍のある分が minutes_per_valid_hour 分以上の時間帯を数える",
        "最大 24。心拍の測定値がなければ欠損",
    ),
    "is_valid_day": _J(
        "有効日",
        "装着日として数えるかどうか。wear_min が valid_day_wear_min 分以上の日を有効日とする",
        "wear_min が欠損なら欠損",
    ),
    "steps": _J("歩数", "1 日の歩数", _FROM_0),
    "distance_m": _J("移動距離", "1 日に移動した距離", _FROM_0),
    "floors": _J("上昇階数", "1 日に上った階数", _FROM_0),
    "active_kcal": _J("活動時エネルギー消費量", "身体活動によるエネルギー消費量。基礎代謝は含まない", _FROM_0),
    "active_min": _J("活動時間", "体を動かしていた時間", _FROM_0),
    "moderate_min": _J("中強度身体活動時間", "中強度の身体活動を行った時間", _BOUTS),
    "vigorous_min": _J("高強度身体活動時間", "高強度の身体活動を行った時間", _BOUTS),
    "resting_hr_bpm": _J("安静時心拍数", "その日の安静時心拍数", _ABOVE_0),
    "hr_mean_bpm": _J(
        "平均心拍数",
        "その日の心拍の測定値の平均",
        f"{_DAILIES}。averageHeartRateInBeatsPerMinute は過去 7 日間の平均なので使わない。"
        "測定値を同じ重みで平均するので、夜に外す人では高くなる",
    ),
    "hr_min_bpm": _J("最低心拍数", "その日の最も低い心拍数", _ABOVE_0),
    "hr_max_bpm": _J("最高心拍数", "その日の最も高い心拍数", _ABOVE_0),
    "stress_mean": _J(
        "平均ストレスレベル",
        "1 日のストレスレベルの平均（1〜100）",
        f"averageStressLevel が負か欠損なら、測定値（0 以上）の平均を使う。{_STRESS_RECORDS}",
    ),
    "stress_rest_min": _J("安静状態の時間", "ストレスレベルが 1〜25 だった時間", _STRESS_TIME),
    "stress_low_min": _J("低ストレス時間", "ストレスレベルが 26〜50 だった時間", _STRESS_TIME),
    "stress_medium_min": _J("中ストレス時間", "ストレスレベルが 51〜75 だった時間", _STRESS_TIME),
    "stress_high_min": _J(
        "高ストレス時間",
        "ストレスレベルが 76〜100 だった時間",
        _STRESS_TIME,
    ),
    "body_battery_max": _J("Body Battery の最高値", "その日の Body Battery の最高値", _STRESS_RECORDS),
    "body_battery_min": _J("Body Battery の最低値", "その日の Body Battery の最低値", _STRESS_RECORDS),
    "body_battery_charged": _J("Body Battery のチャージ量", "その日に回復した Body Battery の量", _FROM_0),
    "body_battery_drained": _J("Body Battery の消費量", "その日に消費した Body Battery の量", _FROM_0),
    "sleep_tst_min": _J(
        "総睡眠時間",
        "主睡眠のうち実際に眠っていた時間（TST）。睡眠段階の合計が Garmin の長さと合えば合計、合わなければその長さ",
        _SLEEP,
    ),
    "sleep_tib_min": _J(
        "床上時間",
        "主睡眠の睡眠、覚醒、判定不能の時間の合計（TIB）",
        f"Garmin の睡眠期間。覚醒や判定不能の時間が欠損なら 0 とする。{_SLEEP}",
    ),
    "sleep_waso_min": _J("中途覚醒時間", "入眠後に目が覚めていた時間（WASO）", f"時間も区間もなければ欠損。{_SLEEP}"),
    "sleep_efficiency_pct": _J("睡眠効率", "床上時間に占める総睡眠時間の割合", f"中途覚醒時間が欠損なら欠損。{_SLEEP}"),
    "sleep_deep_pct": _J("深睡眠の割合", "総睡眠時間に占める深い睡眠の割合", _SLEEP),
    "sleep_light_pct": _J("浅睡眠の割合", "総睡眠時間に占める浅い睡眠の割合", _SLEEP),
    "sleep_rem_pct": _J("レム睡眠の割合", "総睡眠時間に占めるレム睡眠の割合", _SLEEP),
    "sleep_start_min": _J("入眠時刻", "主睡眠の開始時刻。その日の 0 時（現地）からの分", _TIMED),
    "sleep_end_min": _J("覚醒時刻", "主睡眠の終了時刻。その日の 0 時（現地）からの分", _TIMED),
    "midsleep_min": _J("睡眠中央時刻", "主睡眠の開始と終了の中間の時刻。その日の 0 時（現地）からの分", _TIMED),
    "asleep_by_hour": _J(
        "時刻別の睡眠",
        "主睡眠で深・浅・レム睡眠だった分（段階がなければ覚醒でなかった分）を、"
        "現地時刻の 1 時間ごとに 60 ビットで表したもの",
        "0 時より前の睡眠も同じ 24 時間の時計に置く。現地時刻のわかる主睡眠がなければ欠損",
    ),
    "hrv_rmssd_ms": _J("夜間の心拍変動", "睡眠中の心拍変動（RMSSD）の平均", _NEWEST),
    "spo2_mean_pct": _J(
        "平均血中酸素飽和度",
        "経皮的動脈血酸素飽和度（SpO2）の平均",
        "主睡眠中の測定値。なければ、手動でない pulse-ox の測定値",
    ),
    "spo2_lt90_pct": _J(
        "酸素飽和度 90 % 未満の割合", "SpO2 が 90 % を下回った測定値の割合", "spo2_mean_pct と同じ測定値"
    ),
    "resp_sleep_brpm": _J("睡眠中の呼吸数", "睡眠中の 1 分あたりの呼吸数の平均", "主睡眠中の測定値"),
    "resp_day_brpm": _J(
        "1 日の呼吸数",
        "1 日を通した 1 分あたりの呼吸数の平均",
        "その日のすべての allDayRespiration レコードの測定値",
    ),
    "vo2max": _J("最大酸素摂取量", "機器が推定した最大酸素摂取量（VO2max）", _LATEST),
    "fitness_age": _J("フィットネス年齢", "機器が推定した体力年齢", _LATEST),
    "exercise_sessions": _J("運動回数", "記録された運動（アクティビティ）の回数", _SESSIONS),
    "exercise_min": _J("運動時間", "記録された運動（アクティビティ）の合計時間", _SESSIONS),
    "steps_by_hour": _J(
        "時刻別歩数",
        "現地時刻の 1 時間ごとの歩数（24 個）",
        "epoch のない時間帯は欠損。時差のない epoch は数えない。epoch が 1 つもない日は全体が欠損",
    ),
    "n_records": _J("使用レコード数", "その日の計算に使ったレコードの数", f"すべての種類。{_CURRENT}"),
    "n_dailies": _J("dailies レコード数", "dailies 型のレコードの数", _CURRENT),
    "n_sleeps": _J("sleeps レコード数", "sleeps 型のレコードの数", f"{_CURRENT}。OFF_WRIST も含む"),
    "n_stress": _J("stressDetails レコード数", "stressDetails 型のレコードの数", _CURRENT),
    "n_hrv": _J("hrv レコード数", "hrv 型のレコードの数", _CURRENT),
    "last_received_at": _J("最終受信時刻", "使ったレコードを最後に受信した時刻（UTC）", _CURRENT),
    "sync_lag_h": _J(
        "同期の遅れ",
        "dailies レコードの終わりから受信までの時間",
        f"{_DAILIES}。終わる前に受信した場合は負の値",
    ),
}

_V = "値のある有効日"
_ALL = "値のあるすべての日（有効日に限らない）"
_NIGHTS = "主睡眠のあるすべての夜（有効日に限らない）"
_VALUE_NIGHTS = "値のあるすべての夜（有効日に限らない）"
_LAST = "曜日と有効日を問わず、その週の最後の値"
_COUNTED = "の計算に使った"


def _days(of: str, rule: str = _V) -> Japanese:
    return _J("使用日数", f"{of} {_COUNTED}日数（分母）", rule)


def _completeness(type_: str) -> Japanese:
    return _J(f"{type_} の充足率", f"週の 7 日のうち {type_} 型のレコードがある日の割合")


def _regularity(suffix: str, over: str) -> dict[str, Japanese]:
    rule = f"{over}の連続する 2 日で、どちらにも現地時刻のわかる主睡眠がある組"
    span = "（28 日間）" if suffix else ""
    return {
        f"sleep_regularity_index{suffix}": _J(
            f"睡眠規則性指数{span}",
            "24 時間後に睡眠・覚醒の状態が一致する確率を −100〜100 に換算した指標（SRI）。"
            "毎日同じ時刻に眠れば 100、無秩序なら 0",
            f"{rule}。regularity_night_pairs{suffix} 組以上",
        ),
        f"n_sleep_pairs{suffix}": _J(
            f"連続した夜の組数{span}", f"sleep_regularity_index{suffix} {_COUNTED}組の数（分母）", rule
        ),
    }


def _rhythm(suffix: str, over: str) -> dict[str, Japanese]:
    hours = f"{over}の 1 時間ごとの歩数のうち、データのある rhythm_step_hours{suffix} 時間以上"
    whole = f"{hours}。24 の時刻すべてにデータがあること"
    span = "（28 日間）" if suffix else ""
    return {
        f"interdaily_stability{suffix}": _J(
            f"日間安定性{span}",
            "活動のリズムが日々どれだけ繰り返されるかを表す指標（IS）。大きいほど規則的",
            f"{whole}。日数が多いほど小さくなるので、同じ長さの期間どうしを比べる",
        ),
        f"intradaily_variability{suffix}": _J(
            f"日内変動性{span}",
            "1 日のなかで活動と休息がどれだけ細かく入れ替わるかを表す指標（IV）。大きいほど断片化している",
            hours,
        ),
        f"relative_amplitude{suffix}": _J(
            f"相対振幅{span}",
            "平均的な 1 日の、最も活動的な 10 時間（M10）と最も静かな 5 時間（L5）の差を和で割った指標（RA）",
            f"{whole}。M10 と L5 は 0 時をまたいでもよい",
        ),
        f"n_step_hours{suffix}": _J(
            f"歩数のある時間数{span}",
            f"interdaily_stability{suffix}、intradaily_variability{suffix}、relative_amplitude{suffix} "
            f"{_COUNTED}時間数（分母）",
            f"{over}のうち epoch のある時間",
        ),
    }


_WEEK, _28D = "その週", "その週で終わる 28 日間"

_WEEKLY: dict[str, Japanese] = {
    "participant_id": _J("参加者 ID", "仮名化された参加者の番号", _ID_RULE),
    "date": _J("週", "ISO 週の月曜日の日付", "パーティション列。YYYY-MM-DD 形式の文字列"),
    "n_days": _J("データのある日数", "何らかのレコードがある日の数"),
    "n_valid_days": _J("有効日数", "その週の有効日の数"),
    "n_valid_weekend_days": _J("週末の有効日数", "土曜日と日曜日のうちの有効日の数", "土曜日と日曜日"),
    "is_valid_week": _J(
        "有効週",
        "装着週として数えるかどうか。有効日が valid_week_days 日以上、"
        "うち週末が valid_week_weekend_days 日以上の週を有効週とする",
    ),
    "yield_hours": _J("データ取得率", "週の 168 時間のうち十分なデータがある時間の割合", _ALL),
    "completeness_dailies": _completeness("dailies"),
    "completeness_sleeps": _completeness("sleeps"),
    "completeness_stress": _completeness("stressDetails"),
    "completeness_hrv": _completeness("hrv"),
    "wear_min_mean": _J("平均装着時間", "1 日あたりの装着時間の平均", _ALL),
    "n_wear_days": _days("wear_min_mean", _ALL),
    "sync_lag_h_median": _J("同期の遅れの中央値", "データが届くまでの遅れの中央値", _ALL),
    "steps_mean": _J("平均歩数", "1 日あたりの歩数の平均", _V),
    "steps_median": _J("歩数の中央値", "1 日あたりの歩数の中央値", _V),
    "steps_sd": _J("歩数の標準偏差", "1 日あたりの歩数の標準偏差（不偏）", f"{_V}。2 日以上"),
    "steps_sum": _J("合計歩数", "歩数の合計", _V),
    "steps_per_wear_h": _J("装着 1 時間あたりの歩数", "歩数の合計を装着時間の合計で割った値", "両方の値がある有効日"),
    "n_steps_days": _days("steps_mean、steps_median、steps_sd、steps_sum"),
    "distance_m_mean": _J("平均移動距離", "1 日あたりの移動距離の平均", _V),
    "floors_mean": _J("平均上昇階数", "1 日あたりの上った階数の平均", _V),
    "active_kcal_mean": _J("平均活動時エネルギー消費量", "1 日あたりの活動時エネルギー消費量の平均", _V),
    "active_min_mean": _J("平均活動時間", "1 日あたりの活動時間の平均", _V),
    "moderate_min_sum": _J("中強度身体活動時間の合計", "1 週間の中強度の身体活動の時間", _ALL),
    "vigorous_min_sum": _J("高強度身体活動時間の合計", "1 週間の高強度の身体活動の時間", _ALL),
    "mvpa_equiv_min": _J(
        "中高強度身体活動（中強度換算）",
        "1 週間の中高強度身体活動（MVPA）を、高強度を 2 倍して中強度の分に換算した値",
        "片方が欠損なら 0 とする。両方が欠損なら欠損",
    ),
    "who_activity": _J(
        "WHO 推奨との比較",
        "成人の推奨量（週 150〜300 分）に対して below、meets、exceeds のどれか",
        "150 分未満で有効日が 7 日に満たなければ unknown。WHO 2020 は持続時間を問わないが、"
        "Garmin は 10 分以上続いた活動だけを数えることがある",
    ),
    "resting_hr_mean": _J("平均安静時心拍数", "安静時心拍数の平均", _V),
    "resting_hr_slope": _J(
        "安静時心拍数の傾き", "週のなかで安静時心拍数が 1 日あたりに変化した量（最小二乗法）", f"{_V}。3 日以上"
    ),
    "n_resting_hr_days": _days("resting_hr_mean、resting_hr_slope"),
    "hr_mean": _J("平均心拍数", "1 日の平均心拍数の平均", _V),
    "n_hr_days": _days("hr_mean"),
    "hrv_rmssd_mean": _J("平均心拍変動", "夜間の心拍変動（RMSSD）の平均", _VALUE_NIGHTS),
    "hrv_ln_rmssd_mean": _J("対数心拍変動の平均", "夜間の心拍変動（RMSSD）の自然対数の平均（ln RMSSD）", _VALUE_NIGHTS),
    "hrv_cv_pct": _J("心拍変動の変動係数", "夜間の心拍変動（RMSSD）の夜ごとのばらつき", f"{_VALUE_NIGHTS}。2 夜以上"),
    "n_hrv_nights": _J(
        "使用夜数", f"hrv_rmssd_mean、hrv_ln_rmssd_mean、hrv_cv_pct {_COUNTED}夜の数（分母）", _VALUE_NIGHTS
    ),
    "stress_mean": _J("平均ストレスレベル", "1 日の平均ストレスレベルの平均（1〜100）", _V),
    "stress_high_pct": _J(
        "高ストレスの割合", "安静と低・中・高ストレスの時間の合計に占める高ストレスの割合", "有効日の合計"
    ),
    "stress_rest_pct": _J("安静の割合", "安静と低・中・高ストレスの時間の合計に占める安静の割合", "有効日の合計"),
    "n_stress_days": _days("stress_mean"),
    "body_battery_max_mean": _J("Body Battery 最高値の平均", "1 日の Body Battery の最高値の平均", _V),
    "body_battery_min_mean": _J("Body Battery 最低値の平均", "1 日の Body Battery の最低値の平均", _V),
    "body_battery_charged_mean": _J("Body Battery チャージ量の平均", "1 日に回復した Body Battery の平均", _V),
    "body_battery_drained_mean": _J("Body Battery 消費量の平均", "1 日に消費した Body Battery の平均", _V),
    "sleep_tst_h_mean": _J("平均総睡眠時間", "1 夜あたりの総睡眠時間の平均", _NIGHTS),
    "sleep_tst_h_sd": _J("総睡眠時間の標準偏差", "総睡眠時間の夜ごとの標準偏差（不偏）", f"{_NIGHTS}。2 夜以上"),
    "sleep_tib_h_mean": _J("平均床上時間", "1 夜あたりの床上時間の平均", _NIGHTS),
    "sleep_efficiency_mean": _J("平均睡眠効率", "睡眠効率の平均", _VALUE_NIGHTS),
    "sleep_waso_min_mean": _J("平均中途覚醒時間", "1 夜あたりの中途覚醒時間の平均", _VALUE_NIGHTS),
    "sleep_deep_pct_mean": _J("深睡眠の平均割合", "深睡眠の割合の平均", _NIGHTS),
    "sleep_light_pct_mean": _J("浅睡眠の平均割合", "浅睡眠の割合の平均", _NIGHTS),
    "sleep_rem_pct_mean": _J("レム睡眠の平均割合", "レム睡眠の割合の平均", _NIGHTS),
    "n_nights": _J("使用夜数", f"睡眠の平均 {_COUNTED}夜の数（分母）", _NIGHTS),
    "midsleep_mean_min": _J(
        "平均睡眠中央時刻", "睡眠中央時刻の円周平均。0 時（現地）からの分で、−720 より大きく 720 以下", _VALUE_NIGHTS
    ),
    "midsleep_sd_min": _J(
        "睡眠中央時刻の標準偏差", "睡眠中央時刻の円周標準偏差。就寝リズムのばらつき", f"{_VALUE_NIGHTS}。2 夜以上"
    ),
    "n_midsleep_nights": _J("使用夜数", f"midsleep_mean_min、midsleep_sd_min {_COUNTED}夜の数（分母）", _VALUE_NIGHTS),
    "social_jetlag_min": _J(
        "社会的時差ぼけ",
        "休日（土日）と平日（月〜金）の睡眠中央時刻の差（ソーシャル・ジェットラグ）。休日のほうが遅ければ正",
        "それぞれの日に終わる夜の円周平均の差。どちらかがなければ欠損",
    ),
    "nights_ge7h_pct": _J("7 時間以上眠った夜の割合", "総睡眠時間が 420 分以上だった夜の割合", _NIGHTS),
    **_regularity("", _WEEK),
    **_regularity("_28d", _28D),
    "spo2_mean": _J("平均血中酸素飽和度", "血中酸素飽和度（SpO2）の平均", _ALL),
    "spo2_lt90_pct_mean": _J("酸素飽和度 90 % 未満の平均割合", "SpO2 が 90 % を下回った測定値の割合の平均", _ALL),
    "n_spo2_days": _days("spo2_mean、spo2_lt90_pct_mean", _ALL),
    "resp_sleep_mean": _J("睡眠中の平均呼吸数", "睡眠中の呼吸数の平均", _ALL),
    "n_resp_sleep_days": _days("resp_sleep_mean", _ALL),
    "resp_day_mean": _J("1 日の平均呼吸数", "1 日を通した呼吸数の平均", _V),
    "n_resp_day_days": _days("resp_day_mean"),
    "vo2max_last": _J("最大酸素摂取量", "その週の最後に推定された最大酸素摂取量（VO2max）", _LAST),
    "fitness_age_last": _J("フィットネス年齢", "その週の最後に推定された体力年齢", _LAST),
    **_rhythm("", _WEEK),
    **_rhythm("_28d", _28D),
    "exercise_sessions_sum": _J("運動回数の合計", "1 週間に記録された運動の回数", _ALL),
    "exercise_min_sum": _J("運動時間の合計", "1 週間に記録された運動の合計時間", _ALL),
    "n_records": _J("使用レコード数", "その週の計算に使ったレコードの数", "すべての日"),
    "last_received_at": _J("最終受信時刻", "使ったレコードを最後に受信した時刻（UTC）", "すべての日"),
    "computed_at": _J("計算時刻", "その週の値が最初に今の値になった計算の時刻（UTC）"),
    "metrics_version": _J("定義の版", "計算に使った指標の定義の版番号"),
}

_NOT_OF_REVOKED = "利用停止の参加者は 0"
_NULL_OF_REVOKED = "利用停止の参加者も欠損"

_STATUS: dict[str, Japanese] = {
    "participant_id": _J("参加者 ID", "仮名化された参加者の番号", "一度でも登録された全員。データがなくても行がある"),
    "date": _WEEKLY["date"],
    "status": _J(
        "週の状況",
        "その週に機器を装着していたか。していなければ、わかっている理由",
        "revoked は利用できるアカウントがない。valid は n_valid_days が valid_week_days 日以上で、"
        "週末の有効日が valid_week_weekend_days 日以上。too_short は装着した日はあるが、有効日が足りない。"
        "not_enrolled は 7 日とも登録前。unknown は装着不明の日がある。not_worn は装着していない日がある。"
        "not_synced はそれ以外で、まだ届いていない",
    ),
    "n_valid_days": _J("有効日数", "その週の有効日の数", _NOT_OF_REVOKED),
    "n_short_days": _J(
        "装着不足の日数", "装着したが、装着時間が valid_day_wear_min 分に満たなかった日の数", _NOT_OF_REVOKED
    ),
    "n_unknown_days": _J(
        "装着不明の日数",
        "歩数や睡眠など装着の形跡はあるが、心拍やストレスの測定値がなく、装着時間がわからない日の数",
        _NOT_OF_REVOKED,
    ),
    "n_not_worn_days": _J(
        "非装着の日数", "機器は同期されたのに装着の記録も形跡もない日の数。日の終わりは日本時間", _NOT_OF_REVOKED
    ),
    "n_not_synced_days": _J("未同期の日数", "データがまだ届かず、装着したかどうかわからない日の数", _NOT_OF_REVOKED),
    "n_not_enrolled_days": _J("登録前の日数", "最初の登録日（日本時間）より前で、データもない日の数", _NOT_OF_REVOKED),
    "day_states": _J(
        "各日の状態",
        "月曜から日曜まで、1 日 1 文字",
        "V は有効日、S は装着不足、U は不明、N は非装着、A は未同期、E は登録前、R は利用停止。"
        "古い版で計算された行では欠損",
    ),
    "last_worn_date": _J(
        "最終装着日",
        "機器を装着していた最後の日",
        f"{_28D}。YYYY-MM-DD 形式の文字列。なければ欠損。{_NULL_OF_REVOKED}",
    ),
    "last_night_date": _J(
        "最終睡眠日",
        "主睡眠のある最後の日",
        f"{_28D}。YYYY-MM-DD 形式の文字列。なければ欠損。{_NULL_OF_REVOKED}。"
        "last_worn_date があるのにこれがない参加者は、夜に機器を外しているか、睡眠のデータを送っていない",
    ),
    "last_synced_at": _J(
        "最終同期時刻",
        "レコードを最後に受信した時刻（UTC）",
        f"{_28D}の日付のレコード。なければそれより前の週。一度も届いていなければ欠損。{_NULL_OF_REVOKED}",
    ),
    "days_since_last_sync": _J(
        "最終同期からの日数",
        "最後に受信してからの満日数",
        "計算時刻まで。ただし、その週の次の水曜日 9 時 5 分（日本時間）より後は数えないので、"
        "過去の週は変わらない。last_synced_at が欠損なら欠損",
    ),
    "computed_at": _WEEKLY["computed_at"],
    "metrics_version": _WEEKLY["metrics_version"],
}

_REVISIONS: dict[str, Japanese] = {
    "date": _J("日付", "行が変わったパーティションの日付", "YYYY-MM-DD 形式の文字列。週の表では月曜日"),
    "revision": _J("改訂番号", "このパーティションの何番目の改訂か。1 から始まる"),
    "valid_from": _J("有効期間の始め", "この行が前の行に代わった時刻（UTC）"),
    "valid_until": _J("有効期間の終わり", "次の行に代わった時刻（UTC）", "現在の行では欠損。Athena にはない"),
    "cause": _J(
        "原因",
        "行が変わった理由。複数あれば + でつなぐ",
        "time は別の日に計算した参加状況。forced はわかっている違いがない",
    ),
    "n_rows": _J("行数", "改訂後の行の数"),
    "n_rows_added": _J("追加された行数", "前になかった参加者の行の数"),
    "n_rows_removed": _J("削除された行数", "前にあって今はない行の数"),
    "n_rows_changed": _J("変更された行数", "値が変わった行の数"),
    "changed_columns": _J("変更された列", "前後の両方にある行で値が異なる列", "列名を空白で区切る"),
    "previous_revision": _J("前の改訂番号", "置き換えられた改訂の番号", "なければ、または読めなければ 0"),
    "replaced_object": _J("置き換えられたファイル", "履歴に残る前のファイルの SHA-256（ファイル名）", "なければ空"),
    "run_id": _J("実行 ID", "書き込んだ Dagster の実行", "不明なら空"),
    "metrics_version": _J("定義の版", "計算に使った指標の定義の版番号"),
    "engine": _J("計算エンジン", "計算したエンジン。duckdb または spark"),
    "thresholds": _J("しきい値", "計算に使ったしきい値", "JSON 形式"),
}

TEXTS: Mapping[str, Mapping[str, Japanese]] = {
    "daily": _DAILY,
    "weekly": _WEEKLY,
    "status": _STATUS,
    "revisions": _REVISIONS,
}
"""By table, then by column."""
