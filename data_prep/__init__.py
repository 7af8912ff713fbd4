"""From radiographs on disk to an imagefolder that `datasets` reads and `train.py` trains on.

`python -m data_prep --help` shows the commands; in Python the way of the data is

    aihealth.data.layouts.find_images -> scan.scan_images
        -> aihealth.data.duplicates.near_duplicates -> groups.group_images -> splits -> prepare
"""
