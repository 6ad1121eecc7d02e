"""The papers of the methods, and figures that they compare themselves with."""

PAPERS: dict[str, str] = {
    "LRCN15": "Donahue et al. Long-term recurrent convolutional networks for visual recognition. CVPR 2015",
    "I3D17": "Carreira, Zisserman. Quo vadis, action recognition? CVPR 2017",
    "NL18": "Wang, Girshick, Gupta, He. Non-local neural networks. CVPR 2018",
    "R3D18": "Hara, Kataoka, Satoh. Can spatiotemporal 3D CNNs retrace the history of 2D CNNs? CVPR 2018",
    "STGCN18": "Yan, Xiong, Lin. Spatial temporal graph convolutional networks for action recognition. AAAI 2018",
    "BMVC18": "Baradel, Wolf, Mille. Human activity recognition with pose-driven attention to RGB. BMVC 2018",
    "AVSS18": "Das et al. Deep-temporal LSTM for daily living action recognition. AVSS 2018",
    "MMM19": "Das et al. A new hybrid architecture for human activity recognition from RGB-D videos. MMM 2019",
    "WACV19": "Das, Chaudhary, Bremond, Thonnat. Where to focus on for human action recognition? WACV 2019",
    "ICCV19": "Das et al. Toyota Smarthome: real-world activities of daily living. ICCV 2019",
    "WACV20": "Das, Bremond, Thonnat. Looking deeper into time for activities of daily living recognition. WACV 2020",
    "ECCV20": "Das, Sharma, Dai, Bremond, Thonnat. VPN: learning video-pose embedding. ECCV 2020",
    "PhD20": "Das. Spatio-temporal attention mechanisms for activity recognition. PhD thesis, 2020",
}
"""Key -> citation. Docstrings name the papers by these keys, such as ``ICCV19 section 4``."""

OTHERS_REPORTED: dict[str, dict[str, float]] = {
    "nucla/v3_12": {
        "HBRNN (poses only)": 78.5,
        "view-invariant representation (poses only)": 86.1,
        "ensemble TS-LSTM (poses only)": 89.2,
        "SGN (poses only)": 92.5,
    },
}
"""``<dataset>/<protocol>`` -> accuracies in percent that the papers quote of methods not in this zoo."""
