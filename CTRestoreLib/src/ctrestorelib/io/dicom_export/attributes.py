"""Which attributes of the source may travel into a derived image (layer: io).

A list of what is allowed, not of what is forbidden: private elements, old pixel statistics,
overlays, signatures and references to other procedure steps stay behind by default. The modules
are those of the CT Image IOD (DICOM PS3.3, A.3); whoever adds a keyword asks whether it is still
true of the new pixels.
"""

from __future__ import annotations

PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex",
    "QualityControlSubject", "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames",
    "EthnicGroup", "PatientComments", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence",
    "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)  # fmt: skip
"""Who: identical in every series of the patient, or archives split the patient."""

STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName", "StudyID",
    "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingService",
    "ProcedureCodeSequence", "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence",
    "PatientAge", "PatientSize", "PatientWeight", "PatientBodyMassIndex", "MedicalAlerts",
    "Allergies", "SmokingStatus", "PregnancyStatus", "LastMenstrualDate", "PatientState",
    "PatientSexNeutered", "Occupation", "AdditionalPatientHistory", "AdmissionID",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
)  # fmt: skip
"""Which examination: copied unchanged, dates included."""

SERIES = (
    "PatientPosition", "BodyPartExamined", "Laterality", "AnatomicRegionSequence", "ProtocolName",
    "RequestAttributesSequence", "TimezoneOffsetFromUTC", "LongitudinalTemporalInformationModified",
    "PositionReferenceIndicator", "BurnedInAnnotation", "RecognizableVisualFeatures",
    "ClinicalTrialCoordinatingCenterName", "ClinicalTrialSeriesID",
)  # fmt: skip
"""What holds for the whole series and for any grid in it."""

CONTRAST = (
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "ContrastBolusRoute",
    "ContrastBolusAdministrationRouteSequence", "ContrastBolusVolume", "ContrastBolusStartTime",
    "ContrastBolusStopTime", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration",
    "ContrastBolusIngredient", "ContrastBolusIngredientConcentration",
)  # fmt: skip

CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")

ACQUISITION = (
    "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
    "IrradiationEventUID",
)  # fmt: skip
"""When the X-rays fell that the pixels stem from."""

SCAN = (
    "ScanOptions", "DataCollectionDiameter", "DistanceSourceToDetector", "DistanceSourceToPatient",
    "TableHeight", "RotationDirection", "ExposureTime", "XRayTubeCurrent", "Exposure",
    "ExposureInuAs", "FilterType", "GeneratorPower", "FocalSpots", "RevolutionTime",
    "SingleCollimationWidth", "TotalCollimationWidth", "TableSpeed", "TableFeedPerRotation",
    "SpiralPitchFactor", "ExposureModulationType", "DataCollectionCenterPatient",
)  # fmt: skip
"""How the scanner was set; untrue of a series whose low dose or projections were simulated."""

GRID = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SliceLocation", "GantryDetectorTilt", "ReconstructionDiameter",
    "ReconstructionTargetCenterPatient",
)  # fmt: skip
"""Where the pixels lie; copied only from the very slice that has the same pixels."""

DOSE = ("CTDIvol", "CTDIPhantomTypeCodeSequence")
"""Dropped unless asked: whoever adds up the series of a study would count the dose twice."""

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

EMPTY_IF_ABSENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "StudyID", "PositionReferenceIndicator",
    "PatientPosition", "AcquisitionNumber", "KVP", "SliceThickness",
)  # fmt: skip
"""Type 2 and 2C of the CT Image IOD: must be there, may be empty."""

ZERO_MEANS_UNKNOWN = ("TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor")
