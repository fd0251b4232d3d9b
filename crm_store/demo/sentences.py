"""What customers, the bot and agents said in the demo shop's past, in both languages."""
from __future__ import annotations

Said = dict[str, str]  # by language

GREETING: Said = {"zh": "你好，在吗", "en": "Hello, is anyone there?"}
BOT_GREETING: Said = {"zh": "{name}您好，我是暖家的智能助手，请问有什么可以帮您？",
                      "en": "Hello {name}, I am Nuanjia's assistant. What can I do for you?"}
BOT_ASKS_WISH: Said = {"zh": "非常抱歉给您添麻烦了，我来登记投诉。您希望我们怎么处理？",
                       "en": "I am very sorry about this. I will file a complaint. What would you like us to do?"}
BOT_FILED: Said = {"zh": "已登记，您的投诉编号是 {number}，同事会尽快跟进并告诉您每一步进展。",
                   "en": "Filed. Your complaint number is {number}; a colleague takes it up and tells you every step."}
WISHES: dict[str, tuple[Said, ...]] = {
    "refund": ({"zh": "马上给我退款", "en": "Please refund me now."},
               {"zh": "退钱，别再拖了", "en": "I want my money back, without more delay."}),
    "other": ({"zh": "给个说法，再补偿一下", "en": "I want an explanation and some compensation."},
              {"zh": "换一个好的给我", "en": "Please replace it."},
              {"zh": "希望尽快解决，别再发生了", "en": "Sort it out soon, and see that it does not happen again."}),
}
ASKS_PERSON: tuple[Said, ...] = ({"zh": "我要找人工", "en": "I want to talk to a person."},
                                 {"zh": "转人工，不想跟机器人说", "en": "A human please, not a bot."})
ANGRY: tuple[Said, ...] = (
    {"zh": "等了这么久没人管，你们太不负责任了！！", "en": "Nobody has cared for days. This is outrageous!!"},
    {"zh": "气死我了，到底有没有人处理？！", "en": "I am furious. Is anybody going to deal with this?!"})
AGENT_FIRST: tuple[Said, ...] = (
    {"zh": "{name}您好，我是暖家客服{agent}，前面的记录我都看过了，您不用再说一遍。我现在就去核实，半小时内给您答复。",
     "en": "Hello {name}, this is {agent} from Nuanjia. I have read everything, so you need not repeat it. I am "
           "checking now and will be back within half an hour."},
    {"zh": "{name}您好，我是{agent}，这件事由我负责到底。让您受委屈了，真的对不起，我马上查。",
     "en": "Hello {name}, I am {agent} and I will see this through. I am truly sorry; let me look into it right away."})
CUSTOMER_ANSWERS: tuple[Said, ...] = (
    {"zh": "好的，我等你消息", "en": "All right, I am waiting."},
    {"zh": "希望这次说话算数", "en": "I hope you mean it this time."},
    {"zh": "照片我都有，需要的话发给你", "en": "I have photos if you need them."})
PROPOSALS: dict[str, Said] = {
    "delivery": {"zh": "已跟快递核实，是派送失误。我们今天重新发一份顺丰，另补您一张 20 元券，您看可以吗？",
                 "en": "The courier confirms it was their mistake. We send a new one by SF Express today and add a ¥20 "
                       "coupon. Would that be all right?"},
    "quality": {"zh": "照片已核实，是我们的质量问题。可以全额退款或换新，来回运费我们出，您选哪一种？",
                "en": "We have checked: this is our fault. You may have a full refund or a new one, and we pay the "
                      "shipping both ways. Which do you prefer?"},
    "refund": {"zh": "已加急，财务今天下午打款，原路退回，一般 1–3 个工作日到账。到账后我会再跟您确认。",
               "en": "I had it put first: finance pays it back this afternoon the way you paid, usually within 1 to 3 "
                     "working days. I will check with you when it has arrived."},
    "billing": {"zh": "核对了账单，确实多收了，差额今天退回原支付方式。给您添麻烦了。",
                "en": "I compared the bills and you were charged too much. The difference goes back today the way you "
                      "paid. I am sorry for the trouble."},
    "service": {"zh": "您反映的情况已核实并记录，当事同事已被提醒。我代表暖家向您道歉，后面由我一直跟进。",
                "en": "What you describe is confirmed and on record, and the colleague has been spoken to. I apologise "
                      "on behalf of Nuanjia and stay your contact."},
    "safety": {"zh": "请先停用该产品，注意安全。我们明天上门取回检测，全额退款，医疗费用凭票据由我们承担。",
               "en": "Please stop using it. We collect it tomorrow for testing, refund you in full, and pay medical "
                     "costs against receipts."},
}
THANKS: tuple[Said, ...] = ({"zh": "行，就这样处理吧，谢谢", "en": "Fine, let us do that. Thank you."},
                            {"zh": "可以，谢谢你的耐心", "en": "That works. Thanks for your patience."})
FOLLOW_UP: Said = {"zh": "{name}您好，回访一下：问题都解决了吗？还有需要随时找我。",
                   "en": "Hello {name}, just checking: is everything settled? I am here if you need anything."}
LEAD_AGAIN: Said = {"zh": "{name}您好，我是主管{agent}。没让您满意很抱歉，我已重新安排处理，明天给您准信。",
                    "en": "Hello {name}, I am {agent}, the team lead. I am sorry it was not settled; I have taken it "
                          "up again and you hear from me tomorrow."}
TOPICS: tuple[tuple[Said, Said, Said], ...] = (  # what they wanted, what the bot said, what the agent did
    ({"zh": "公司地址搬了，发票抬头和税号都要改，已经开出来的那张怎么办",
      "en": "Our company moved. What about the invoice you have already issued with the old details?"},
     {"zh": "发票可以在订单页申请，一般 24 小时内开出。",
      "en": "You can ask for an invoice on the order page; it is issued within 24 hours."},
     {"zh": "旧发票已作废，按新抬头重开了一张，发到您邮箱了，请查收。",
      "en": "I cancelled the old invoice and issued a new one with your new details; it is in your mailbox."}),
    ({"zh": "想给我妈买床垫，她腰不好，哪款软硬合适，能不能先试睡",
      "en": "I want a mattress for my mother, who has a bad back. Which one, and can she try it first?"},
     {"zh": "我们有 1.5 米和 1.8 米两款乳胶弹簧床垫。", "en": "We have latex spring mattresses of 1.5 m and 1.8 m."},
     {"zh": "建议您带阿姨到店里躺一下，我帮您约了周六上午，1.5 米那款支撑偏硬，更适合腰不好的人。",
      "en": "Best let her lie on it in our shop: I booked Saturday morning for you. The 1.5 m one is firmer and suits "
            "a bad back."}),
    ({"zh": "下周要出国，能不能把快递改到下个月十号之后再送",
      "en": "I am abroad next week. Can my parcel come after the tenth of next month?"},
     {"zh": "小件一般 2–4 天送达。", "en": "Small parcels usually take 2 to 4 days."},
     {"zh": "已经帮您备注暂缓发货，下月十号后再寄出，发货时会短信通知您。",
      "en": "I have put it on hold; it leaves after the tenth of next month and you get a text when it does."}),
)
STILL_WAITING: Said = {"zh": "还没好吗？我一直在等", "en": "Any news? I am still waiting."}
BOT_MORE: Said = {"zh": "还有什么可以帮您的吗？", "en": "Is there anything else I can do for you?"}
BYE: Said = {"zh": "没有了，谢谢", "en": "No, that is all, thanks."}
BOT_BYE: Said = {"zh": "不客气，祝您生活愉快！", "en": "You are welcome. Have a nice day!"}
RAISED = "涉及两个部门 · two departments are involved"
