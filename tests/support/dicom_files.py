"""Tiny DICOM files. Import it after ``pytest.importorskip("pydicom")``."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PATIENT = "SECRET^PATIENT"
"""Name of the patient in every file, which must appear nowhere else."""


def write_dicom(file, pixels, *, bits=None, syntax=ExplicitVRLittleEndian, **elements):
    """Write a DICOM file.

    Args:
        file: Path of the file.
        pixels: Array ``[H, W]`` of grey values, or uint8 ``[H, W, 3]``.
        bits: Number of bits of a value; those of the array by default.
        syntax: Transfer syntax. The pixels are not compressed, whatever it says.
        elements: Further elements of the header by keyword.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    scan = Dataset()
    scan.file_meta = meta
    scan.SOPClassUID, scan.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    scan.PatientName, scan.PatientID = PATIENT, PATIENT
    scan.Rows, scan.Columns = pixels.shape[:2]
    scan.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    scan.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        scan.PlanarConfiguration = 0
    scan.BitsAllocated = 8 * pixels.itemsize
    scan.BitsStored = bits or scan.BitsAllocated
    scan.HighBit = scan.BitsStored - 1
    scan.PixelRepresentation = int(pixels.dtype.kind == "i")
    scan.PixelData = np.ascontiguousarray(pixels).tobytes()
    for name, value in elements.items():
        setattr(scan, name, value)
    if syntax.is_compressed:
        from pydicom.encaps import encapsulate

        scan.PixelData = encapsulate([b"\0" * 64])
        scan["PixelData"].is_undefined_length = True
    scan.save_as(file, enforce_file_format=True)
    return file


def lookup_table(entries, bits, first=0):
    """A look-up table of a DICOM file, as an element of a sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = [int(entry) for entry in entries]
    item["LUTData"].VR = "US"
    return [item]
