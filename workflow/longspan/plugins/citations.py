"""BibTeX entries that several plug-ins share."""

TOKEN_WEIGHTING = """\
@inproceedings{helm2025token,
  title={Token Weighting for Long-Range Language Modeling},
  author={Helm, Falko and Daheim, Nico and Gurevych, Iryna},
  booktitle={Findings of the Association for Computational Linguistics: NAACL 2025},
  note={arXiv:2503.09202},
  year={2025}
}"""
LONGATTN = """\
@article{wu2025longattn,
  title={LongAttn: Selecting Long-context Training Data via Token-level Attention},
  author={Wu, Longyun and Zhu, Dawei and Zhao, Guangxiang and Yu, Zhuocheng and Ran, Junfeng and \
Wong, Xiangyu and Sun, Lin and Li, Sujian},
  journal={arXiv preprint arXiv:2502.16860},
  year={2025}
}"""
LONGPPL = """\
@inproceedings{fang2025wrong,
  title={What is Wrong with Perplexity for Long-context Language Modeling?},
  author={Fang, Lizhe and Wang, Yifei and Liu, Zhaoyang and Zhang, Chenheng and Jegelka, Stefanie and \
Gao, Jinyang and Ding, Bolin and Wang, Yisen},
  booktitle={International Conference on Learning Representations},
  note={arXiv:2410.23771},
  year={2025}
}"""
LONGFILTER = """\
@inproceedings{deng2026beyond,
  title={Beyond Length: Quantifying Long-Range Information for Long-Context LLM Pretraining Data},
  author={Deng, Haoran and Lin, Yingyu and Lin, Zhenghao and Liu, Xiao and Sun, Yizhou and \
Ma, Yian and Gong, Yeyun},
  booktitle={International Conference on Learning Representations},
  note={arXiv:2510.25804},
  year={2026}
}"""
