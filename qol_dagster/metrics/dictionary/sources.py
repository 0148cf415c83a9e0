"""What the definitions are taken from: papers, guidelines, and Garmin's documentation of its fields.

Belongs here: facts about publications. Which metric cites which stands in `dictionary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A publication: `name` as it is cited, `work` as a bibliography has it, and where it can be read.

    `doi`, `pmc` (PubMed Central) and `pubmed` are identifiers without a prefix, empty where there is none.
    """

    name: str
    work: str
    doi: str = ""
    pmc: str = ""
    pubmed: str = ""

    @property
    def identifiers(self) -> tuple[tuple[str, str], ...]:
        """(text, URL) of each identifier, such as `doi:10.1038/…`."""
        known = (
            (self.doi, f"doi:{self.doi}", f"https://doi.org/{self.doi}"),
            (self.pmc, f"PMC{self.pmc}", f"https://pmc.ncbi.nlm.nih.gov/articles/PMC{self.pmc}/"),
            (self.pubmed, f"PMID {self.pubmed}", f"https://pubmed.ncbi.nlm.nih.gov/{self.pubmed}/"),
        )
        return tuple((text, url) for given, text, url in known if given)

    def __str__(self) -> str:
        """Return the citation with its first identifier."""
        return f"{self.name} ({self.identifiers[0][0]})" if self.identifiers else self.name


THIS_PROJECT = Source("this project", "Defined here")
GARMIN_HEALTH = Source("Garmin Health API 1.2", "Garmin's documentation of the Health API for partners")
GARMIN_ACTIVITY = Source("Garmin Activity API 1.2", "Garmin's documentation of the Activity API for partners")
TUDOR_LOCKE = Source(
    "Tudor-Locke 2012",
    "A catalog of rules, variables, and definitions applied to accelerometer data in the National Health and "
    "Nutrition Examination Survey, 2003–2006. Prev Chronic Dis 9:110332",
    doi="10.5888/pcd9.110332",
    pmc="3457743",
)
HERRMANN = Source(
    "Herrmann 2013",
    "How many hours are enough? Accelerometer wear time may provide bias in daily activity estimates. "
    "J Phys Act Health 10:742–749",
    pubmed="23036822",
)
WHO_2020 = Source(
    "WHO 2020",
    "World Health Organization 2020 guidelines on physical activity and sedentary behaviour. "
    "Br J Sports Med 54:1451–1462",
    doi="10.1136/bjsports-2020-102955",
    pmc="7719906",
)
VEGA = Source(
    "RAPIDS (Vega 2021)",
    "Reproducible Analysis Pipeline for Data Streams: open-source software to process data collected with mobile "
    "devices. Front Digit Health 3:769823. Its data yield is what yield and completeness are modelled on",
    doi="10.3389/fdgth.2021.769823",
)
MARDIA = Source(
    "Mardia & Jupp 2000", "Directional Statistics. Wiley. Mean and SD of angles", doi="10.1002/9780470316979"
)
PHILLIPS = Source(
    "Phillips 2017",
    "Irregular sleep/wake patterns are associated with poorer academic performance and delayed circadian and "
    "sleep/wake timing. Sci Rep 7:3216",
    doi="10.1038/s41598-017-03171-4",
    pmc="5468315",
)
WITTING = Source(
    "Witting 1990",
    "Alterations in the circadian rest-activity rhythm in aging and Alzheimer's disease. Biol Psychiatry 27:563–572",
    doi="10.1016/0006-3223(90)90523-5",
)
VAN_SOMEREN = Source(
    "van Someren 1999",
    "Bright light therapy: improved sensitivity to its effects on rest-activity rhythms in Alzheimer patients by "
    "application of nonparametric methods. Chronobiol Int 16:505–518",
    doi="10.3109/07420529908998724",
)
WITTMANN = Source(
    "Wittmann 2006",
    "Social jetlag: misalignment of biological and social time. Chronobiol Int 23:497–509",
    doi="10.1080/07420520500545979",
)
WATSON = Source(
    "Watson 2015",
    "Recommended amount of sleep for a healthy adult: a joint consensus statement of the American Academy of Sleep "
    "Medicine and Sleep Research Society. J Clin Sleep Med 11:591–592",
    doi="10.5664/jcsm.4758",
    pmc="4442216",
)
OHAYON = Source(
    "Ohayon 2017",
    "National Sleep Foundation's sleep quality recommendations: first report. Sleep Health 3:6–19",
    doi="10.1016/j.sleh.2016.11.006",
)
TASK_FORCE = Source(
    "Task Force 1996",
    "Heart rate variability: standards of measurement, physiological interpretation and clinical use. "
    "Circulation 93:1043–1065",
    doi="10.1161/01.CIR.93.5.1043",
)
PLEWS = Source(
    "Plews 2012",
    "Heart rate variability in elite triathletes, is variation in variability the key to effective training? A case "
    "comparison. Eur J Appl Physiol 112:3729–3741",
    doi="10.1007/s00421-012-2354-4",
)
