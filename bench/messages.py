"""What the customers of the benchmark say: calm, in both languages, over every part of the shop's work."""
MESSAGES = (
    "你好", "我的快递到哪了", "我还有多少积分", "怎么退货", "hi there", "where is my parcel",
    "how many points do i have", "what is your return policy", "我是什么会员等级", "你们几点营业",
    "可以用花呗付款吗", "积分什么时候过期", "do my points expire", "what are your opening hours",
    "can i pay with paypal", "how do i get an invoice", "羊毛毯可以机洗吗", "送到西藏要几天", "保修多久",
    "积分怎么算的", "how long is the warranty", "how long does delivery take", "谢谢", "thanks a lot",
    "我的积分明细", "show me my points history", "你会做什么", "what can you do", "发票怎么开",
    "what is my membership tier",
)
