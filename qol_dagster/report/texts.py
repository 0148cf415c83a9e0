"""The words of a report in Japanese and English.

Belongs here: everything a reader reads but numbers, names of measures (the dictionary has them) and dates (Babel writes
them). `{}` is filled by the page.
"""

# ruff: noqa: E501 - one text is one line

from __future__ import annotations

from collections.abc import Mapping

from qol_ingest.shared.languages import Language

TEXTS: Mapping[str, Mapping[Language, str]] = {
    "title": {"ja": "週間レポート", "en": "Weekly report"},
    "week_of": {"ja": "{first}～{last}の週", "en": "Week of {first} to {last}"},
    "moment": {"ja": "日本時間 {day} {time}", "en": "{day}, {time} JST"},
    "made_at": {"ja": "{at} 作成", "en": "Made {at}"},
    "skip": {"ja": "本文へ", "en": "Skip to content"},
    "contents": {"ja": "目次", "en": "Contents"},
    # 1 Call today
    "calls": {"ja": "今日連絡する方", "en": "Call today"},
    "no_calls": {"ja": "連絡が必要な方はいません。", "en": "Nobody needs a call."},
    "calls_summary": {"ja": "連絡が必要な方：{n} 件（{at} 現在）", "en": "{n} to call, as of {at}"},
    "more_calls": {"ja": "ほか {n} 件", "en": "{n} more"},
    "participant": {"ja": "参加者", "en": "Participant"},
    "why": {"ja": "理由", "en": "Why"},
    "what_to_do": {"ja": "すること", "en": "What to do"},
    "permission_lost": {"ja": "健康データの提供が停止されている", "en": "No longer permits health data"},
    "permission_lost.do": {
        "ja": "意思を確かめ、続けられる場合は Garmin Connect の設定でデータの共有を再び許可していただく。",
        "en": "Ask whether they wish to go on; if so, permission is given again in Garmin Connect's settings.",
    },
    "reconnect": {"ja": "Garmin との接続が切れている", "en": "Connection to Garmin has ended"},
    "reconnect.do": {
        "ja": "新しい招待リンク（qol participants invite）を送り、もう一度接続していただく。",
        "en": "Send a new link (qol participants invite) to connect again.",
    },
    "silent": {"ja": "{n} 日間データが届いていない", "en": "No data for {n} days"},
    "silent.do": {
        "ja": "Garmin Connect アプリを開いて同期していただく。充電と Bluetooth も確かめる。",
        "en": "Ask to open the Garmin Connect app and synchronise; check charge and Bluetooth.",
    },
    "never_synced": {"ja": "まだ一度もデータが届いていない", "en": "No data has come yet"},
    "never_synced.do": {
        "ja": "機器がアプリに登録され、データの提供に同意されているかを一緒に確かめる。",
        "en": "Check together that the device is paired and that sharing was agreed to.",
    },
    "not_worn": {"ja": "{n} 日続けて装着されていない", "en": "Not worn for {n} days"},
    "not_worn.do": {
        "ja": "装着できない事情（かぶれ、仕事、忘れ）をうかがい、装着をお願いする。",
        "en": "Ask what stands in the way (skin, work, habit), and to wear it again.",
    },
    "no_night": {"ja": "4 週間、夜の記録がない", "en": "No night recorded for four weeks"},
    "no_night.do": {
        "ja": "夜も装着していただく。就寝中に外す理由（かゆみ、充電）をうかがう。",
        "en": "Ask to wear it at night; ask why it is taken off (itching, charging).",
    },
    "low_coverage": {"ja": "装着が短く、有効日が {n} 日", "en": "Worn too little: {n} valid days"},
    "low_coverage.1": {"ja": "装着が短く、有効日が {n} 日", "en": "Worn too little: {n} valid day"},
    "low_coverage.do": {
        "ja": "1 日 {hours} 時間以上の装着と、夜間の装着もお願いする。",
        "en": "Ask to wear it for at least {hours} hours a day, and at night.",
    },
    "survey_overdue": {"ja": "質問票の回答予定日を {n} 日過ぎている", "en": "Questionnaire due for {n} days"},
    "survey_overdue.1": {"ja": "質問票の回答予定日を {n} 日過ぎている", "en": "Questionnaire due for {n} day"},
    "survey_overdue.do": {
        "ja": "回答のリンクが届いたかを確かめ、回答をお願いする。新しいリンクは qol survey invite で作る。",
        "en": "Check that the link arrived, and ask to answer. qol survey invite makes a new link.",
    },
    "survey_to_invite": {"ja": "質問票に回答できるが、リンクがまだない", "en": "Questionnaire open, no link yet"},
    "survey_to_invite.do": {
        "ja": "qol survey invite --due でリンクか案内状を作り、届ける。紙で回答する方には用紙を渡す。",
        "en": "qol survey invite --due makes links and letters; hand a sheet to whoever answers on paper.",
    },
    "until": {"ja": "{date}まで回答できる", "en": "may be answered until {date}"},
    "not_joined": {"ja": "招待したがまだ接続していない", "en": "Invited, not connected yet"},
    "not_joined.do": {
        "ja": "招待リンクが届いたかを確かめる。期限が切れたら新しく送る。",
        "en": "Check that the link arrived; send a new one once it has expired.",
    },
    "unmapped": {
        "ja": "未登録の Garmin ユーザーからデータが届いている：{n} 人",
        "en": "Users who push data and are not enrolled: {n}",
    },
    "unmapped.do": {
        "ja": "qol participants pending で確かめ、登録するか削除する。",
        "en": "See qol participants pending: enrol or forget them.",
    },
    "detail": {"ja": "（{of}）", "en": " ({of})"},
    "last_worn": {"ja": "最後に装着：{date}", "en": "last worn {date}"},
    # 2 In short
    "in_short": {"ja": "今週のまとめ", "en": "In short"},
    "enrolled": {"ja": "登録中", "en": "Enrolled"},
    "active": {"ja": "装着あり", "en": "Wore the device"},
    "valid": {"ja": "有効週", "en": "Valid weeks"},
    "of_enrolled": {"ja": "登録中の {pct}", "en": "{pct} of those enrolled"},
    "change": {"ja": "前週比 {change}", "en": "{change} since last week"},
    "none_before": {"ja": "前週は未計算", "en": "last week is not computed"},
    "no_change": {"ja": "前週と同じ", "en": "as last week"},
    "valid_trend": {"ja": "有効週の割合（%）", "en": "Valid weeks, in percent of those enrolled"},
    "from_to": {"ja": "{low}～{high}", "en": "{low}–{high}"},
    "week": {"ja": "週", "en": "Week"},
    "measure": {"ja": "指標", "en": "Measure"},
    "median": {"ja": "中央値", "en": "Median"},
    "middle_half": {"ja": "中央の 50 %", "en": "Middle half"},
    "last_week": {"ja": "前週", "en": "Last week"},
    "n": {"ja": "人数", "en": "n"},
    "headline_note": {
        "ja": "有効週（装着が十分な週）の参加者の値。体調の判定や診断には使えません。",
        "en": "Of participants with a valid week. These are no diagnoses.",
    },
    # 3 Completeness
    "completeness": {"ja": "データの充足", "en": "Completeness"},
    "calendar": {"ja": "参加者と日付（8 週間）", "en": "Participants and days, 8 weeks"},
    "since_enrolment": {"ja": "登録からの週ごとの有効日数", "en": "Valid days by week since enrolment"},
    "since_enrolment_note": {
        "ja": "直近 {n} 週間に登録された参加者。数字は週の有効日数（0～7）。",
        "en": "Of participants enrolled in the last {n} weeks. A number is the valid days of a week, 0 to 7.",
    },
    "nobody_enrolled_lately": {
        "ja": "直近 {n} 週間に登録された参加者はいません。",
        "en": "Nobody was enrolled in the last {n} weeks.",
    },
    "state.V": {"ja": "有効日", "en": "valid"},
    "state.S": {"ja": "装着不足", "en": "worn too short"},
    "state.N": {"ja": "非装着", "en": "not worn"},
    "state.U": {"ja": "装着不明", "en": "worn, how long is unknown"},
    "state.A": {"ja": "未同期", "en": "not synchronised"},
    "state.E": {"ja": "登録前", "en": "before enrolment"},
    "state.R": {"ja": "利用停止", "en": "stopped"},
    "state. ": {"ja": "記録なし", "en": "not recorded"},
    "letter.V": {"ja": "有", "en": "V"},
    "letter.S": {"ja": "短", "en": "S"},
    "letter.N": {"ja": "外", "en": "N"},
    "letter.U": {"ja": "？", "en": "?"},
    "letter.A": {"ja": "未", "en": "–"},
    "letter.E": {"ja": "前", "en": "E"},
    "letter.R": {"ja": "止", "en": "R"},
    "legend": {"ja": "凡例", "en": "Key"},
    "too_many": {
        "ja": "参加者が {n} 人を超えるため、日ごとの表は有効日が 7 日でない参加者のうち {n} 人までを示します。全員分は db_qol.participant_status にあります。",
        "en": "More than {n} participants: of those with fewer than 7 valid days, the first {n} are shown. Everybody is in db_qol.participant_status.",
    },
    # 4 Measures
    "measures": {"ja": "指標", "en": "Measures"},
    "spread_note": {
        "ja": "横線は中央値、帯は中央の 50 %、縦線は 10～90 パーセンタイル。色付きが今週。有効週の参加者のみ。",
        "en": "Line: median; band: middle half; whisker: 10th to 90th percentile. This week is coloured. Valid weeks only.",
    },
    "as_table": {"ja": "数値で見る", "en": "As a table"},
    "outside": {"ja": "ふだんの範囲から外れた値", "en": "Outside their own range"},
    "outside_note": {
        "ja": "それまでの有効週（5 週以上）から 99 % の確率で予想される範囲を外れた値。誤りとは限らず、本人に様子をうかがう目安です。",
        "en": "Beyond the range that their own valid weeks before (five or more) make 99 % likely. Not an error: a reason to ask how they are.",
    },
    "nobody_outside": {"ja": "該当する値はありません。", "en": "No value is."},
    "value": {"ja": "今週", "en": "This week"},
    "usual": {"ja": "ふだんの範囲", "en": "Usual range"},
    "above": {"ja": "高い", "en": "above"},
    "below": {"ja": "低い", "en": "below"},
    "courses": {"ja": "参加者ごとの 9 週間の推移", "en": "Nine weeks of each participant"},
    "courses_note": {
        "ja": "線は各自の目盛りで描かれ、推移を示します（高さは比べられません）。右の数字が今週の値、◆は範囲外。",
        "en": "Each line has its own scale: it shows a course, not a level. The number is this week's; a diamond is outside the own range.",
    },
    "courses_of_some": {
        "ja": "参加者が {n} 人を超えるため、範囲外の値がある参加者のみを示します。",
        "en": "More than {n} participants: only those with a value outside their range are shown.",
    },
    # 5 Questionnaires
    "surveys": {"ja": "質問票（WHOQOL-26）", "en": "Questionnaires (WHOQOL-26)"},
    "surveys_as_of": {"ja": "{date}現在。", "en": "As of {date}."},
    "responses": {"ja": "回答の状況", "en": "Responses"},
    "wave": {"ja": "調査回", "en": "Wave"},
    "baseline": {"ja": "ベースライン", "en": "Baseline"},
    "wave_n": {"ja": "第 {n} 回", "en": "Wave {n}"},
    "due": {"ja": "予定", "en": "Due"},
    "answered": {"ja": "回答済み", "en": "Answered"},
    "rate": {"ja": "回答率", "en": "Response rate"},
    "overdue": {"ja": "未回答", "en": "Overdue"},
    "still_open": {"ja": "うち受付中", "en": "of these, still open"},
    "scores": {
        "ja": "領域の得点の推移（0～100、高いほど良い）",
        "en": "Domains over the waves, 0 to 100, more is better",
    },
    "scores_note": {
        "ja": "横線は中央値、帯は中央の 50 %。0 がベースライン。5 回答に満たない回は示しません。個人の得点は示しません。",
        "en": "Line: median; band: middle half; 0 is the baseline. Waves with fewer than 5 scores are left out. Nobody's own score is shown.",
    },
    "no_scores": {
        "ja": "5 回答に満たないため、得点はまだ示せません。",
        "en": "Fewer than 5 scores in every wave: none is shown yet.",
    },
    "domain": {"ja": "領域", "en": "Domain"},
    "domain.physical": {"ja": "身体的領域", "en": "Physical"},
    "domain.psychological": {"ja": "心理的領域", "en": "Psychological"},
    "domain.social": {"ja": "社会的関係", "en": "Social"},
    "domain.environment": {"ja": "環境領域", "en": "Environment"},
    "associations": {"ja": "回答前 14 日間の測定値との関連", "en": "Associations with the 14 days before"},
    "associations_note": {
        "ja": "正の値は、同じ人の中で、測定値が高かった時期に得点も高かったことを意味し、どちらかが原因であることや、本人への助言の根拠になることは意味しません。{date}までの回答。",
        "en": "Above 0 means that one and the same person scored higher when the measure was higher; it does not mean that the one causes the other, and it is no advice for anybody. Forms up to {date}.",
    },
    "no_associations": {
        "ja": "関連はまだ示せません（10 人以上、30 回答以上が必要です）。",
        "en": "No association can be shown yet: at least 10 persons and 30 forms are needed.",
    },
    "correlation": {"ja": "個人内の相関", "en": "Correlation within persons"},
    "interval": {"ja": "95 % 信頼区間", "en": "95 % interval"},
    "scale_of_interval": {"ja": "−1～1", "en": "−1 to 1"},
    "from_to_signed": {"ja": "{low} ～ {high}", "en": "{low} to {high}"},
    "forms": {"ja": "回答数", "en": "Forms"},
    "p_adjusted": {"ja": "調整済み p", "en": "Adjusted p"},
    # 6 Trust
    "trust": {"ja": "データの信頼性", "en": "Trust"},
    "records_of_week": {"ja": "この週のデータ", "en": "Data of this week"},
    "lines": {"ja": "届いたレコード", "en": "Records received"},
    "records": {"ja": "計算に使ったレコード", "en": "Records used"},
    "superseded": {"ja": "新しい版に置き換えられたレコード", "en": "Superseded by a newer version"},
    "misfiled": {"ja": "別の日付に置かれたレコード", "en": "Stored under another date"},
    "unreadable": {"ja": "読めなかったレコード", "en": "Unreadable"},
    "unmapped_records": {"ja": "登録されていないユーザーのレコード", "en": "Of users not enrolled"},
    "values_set_aside": {"ja": "ありえない値として除いた数", "en": "Impossible values set aside"},
    "quarantined": {"ja": "隔離されている受信データ（全期間）", "en": "Bodies in quarantine, of all time"},
    "late_people": {"ja": "週次計算の後にデータが届いた参加者", "en": "Participants with data after the weekly run"},
    "not_known": {"ja": "不明", "en": "not known"},
    "how_made": {"ja": "計算の条件", "en": "How it was computed"},
    "setting": {"ja": "項目", "en": "Setting"},
    "shown_value": {"ja": "値", "en": "Value"},
    "number": {"ja": "数", "en": "Number"},
    "definitions": {
        "ja": "値はすべて db_qol の表と同じです。定義は qol metrics show 列名 で読めます。",
        "en": "Every number is that of the tables of db_qol. qol metrics show COLUMN explains each.",
    },
    # The mail to staff
    "mail": {
        "ja": "{week} の週のレポートができました。\n\n  {place}\n\n連絡が必要な方：{n} 件（データが届いていない {no_data}、装着が少ない {little_data}、質問票 {questionnaire}、参加の手続き {to_join}）\n健康に関する値はこのメールに含まれません。\n",
        "en": "The report of the week of {week} is there.\n\n  {place}\n\nTo call: {n} (no data: {no_data}, little data: {little_data}, questionnaire: {questionnaire}, to join: {to_join})\nThis mail holds no health data.\n",
    },
    # A participant's own page
    "own_title": {"ja": "あなたの記録", "en": "Your record"},
    "own_note": {
        "ja": "このページはご本人にお見せするためのものです。測定は参考値であり、診断ではありません。",
        "en": "This page is made to be shown to the participant. The values are estimates and no diagnosis.",
    },
    "own_days": {"ja": "装着した日", "en": "Days of wear"},
    "own_weeks": {"ja": "週ごとの値", "en": "Week by week"},
    "own_chart": {"ja": "9 週間の推移", "en": "Nine weeks"},
    "weekdays": {"ja": "月火水木金土日", "en": "MTWTFSS"},
}


def text(name: str, language: Language, **values: object) -> str:
    """Return a text with its places filled; of `n` = 1 its own, if it has one. Raises KeyError for an unknown name."""
    of_one = TEXTS.get(f"{name}.1") if values.get("n") == 1 else None
    return (of_one or TEXTS[name])[language].format(**values)
