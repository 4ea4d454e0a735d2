"""Reports for readers: PDF, DICOM, model card, and the sentences in them."""
